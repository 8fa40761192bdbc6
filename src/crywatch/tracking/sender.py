"""Sends a stage's journal while the stage works: on its own thread, and never in its way."""

from __future__ import annotations

import threading
import time

from crywatch.tracking import deliver, parent
from crywatch.tracking.failure import reason, warn
from crywatch.tracking.journal import Journal
from crywatch.tracking.replay import Replay, Stopped, StoreLost
from crywatch.tracking.store import Store, Target, open_at

FLUSH_COUNT, FLUSH_S = 200, 10.0  # numbers, which may wait a little to be sent together
SYNC_S = 2.0
RETRY_S, MOST_RETRY_S = 1.0, 60.0  # doubled each time
LATELY_S = 2.0  # a store that was lost so short a time ago is not asked once more


class Sender(threading.Thread):
    """Delivers what earlier stages left, then this stage's journal, until that is at its end."""

    def __init__(self, journal: Journal, target: Target) -> None:
        super().__init__(name="crywatch-tracking", daemon=True)
        self.complete = False
        self.replay: Replay | None = None
        self._journal, self._target = journal, target
        self._store: Store | None = None
        self._wake, self._idle = threading.Event(), threading.Event()
        self._closing, self._left = threading.Event(), threading.Event()
        self._pending = 0  # numbers
        self._lost_s: float | None = None
        self._said_lost = False
        self._refusals: dict[str, int] = {}
        self._retry_s = RETRY_S

    # The stage's side

    def more(self, count: int = 0) -> None:
        """The journal has more: ``count`` numbers, or something that should be seen at once."""
        self._pending += count
        if not count or self._pending >= FLUSH_COUNT:
            self._idle.clear()
            self._wake.set()

    def flush(self, wait_s: float) -> bool:
        """Whether the store has all that was said, after at most ``wait_s``."""
        self.more()
        return self._idle.wait(wait_s) and self._lost_s is None

    def close(self, wait_s: float) -> bool:
        """The same, for the last time: what is left then stays in the spool."""
        self._closing.set()
        self._wake.set()
        self.join(wait_s)
        self._left.set()
        return self.complete

    # The thread's side

    def run(self) -> None:
        """Until the stage closes it."""
        sent_s = time.monotonic()
        try:
            while True:
                self._wake.wait(SYNC_S)
                closing = self._closing.is_set()
                due = self._wake.is_set() or time.monotonic() - sent_s > FLUSH_S
                self._wake.clear()
                self._journal.sync()
                if (closing or due) and self._may_try(closing):
                    self._pending = 0
                    self._send()
                    sent_s = time.monotonic()
                if closing:
                    break
        except Stopped:
            pass
        except Exception as error:  # the thread must not end without a word
            warn(f"{reason(error)}; what was not sent stays in {self._journal.folder}")
        finally:
            self._end()

    def _end(self) -> None:
        if self.complete:
            self._journal.finish()
        else:
            self._journal.close()
        self._idle.set()

    def _may_try(self, closing: bool) -> bool:
        if self._lost_s is None:
            return True
        since_s = time.monotonic() - self._lost_s
        if since_s >= (LATELY_S if closing else self._retry_s):
            return True
        self._idle.set()
        return False

    def _send(self) -> None:
        try:
            if self._store is None:
                self._open()
            self.replay.deliver()
        except StoreLost as lost:
            self._lost(lost.__cause__ or lost)
        else:
            self._lost_s, self._retry_s = None, RETRY_S
            self.complete = self.replay.ended
            if not self._wake.is_set():
                self._idle.set()

    def _open(self) -> None:
        try:
            store = open_at(self._target)
            deliver.leftovers(store, self._target, self._left.is_set)
            parent.mark_killed(store)
        except (StoreLost, Stopped):
            raise
        except Exception as error:  # whatever the store or its driver raises
            raise StoreLost from error
        self._store = store
        self.replay = Replay(store, self._journal, self._refuse, self._left.is_set)

    def _lost(self, error: BaseException) -> None:
        if self._lost_s is not None:
            self._retry_s = min(self._retry_s * 2, MOST_RETRY_S)
        self._lost_s = time.monotonic()
        self._idle.set()
        if not self._said_lost:
            self._said_lost = True
            warn(f"{reason(error)}; this stage goes on, and its records are sent later")

    def _refuse(self, error: BaseException) -> None:
        said = f"{type(error).__name__}: {reason(error)}"
        self._refusals[said] = self._refusals.get(said, 0) + 1
        if self._refusals[said] == 1:
            warn(f"{said}; this was not logged")
