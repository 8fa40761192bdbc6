"""Journals on their way to the store: a stage's own, and those that earlier stages left.

A stage's journal is sent while the stage works, on a thread of its own and never in its way. Before
it go the journals that earlier stages left, in the order in which they were begun; `crywatch
deliver` sends those too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crywatch.core import params
from crywatch.tracking import entries, parent, store
from crywatch.tracking import journal as spool
from crywatch.tracking.journal import Journal
from crywatch.tracking.replay import Replay, Stopped, StoreLost
from crywatch.tracking.store import Store, Target, TrackingConfig, open_at, reason, warn

FLUSH_COUNT, FLUSH_S = 200, 10.0  # numbers, which may wait a little to be sent together
SYNC_S = 2.0
RETRY_S, MOST_RETRY_S = 1.0, 60.0  # doubled each time
LATELY_S = 2.0  # a store that was lost so short a time ago is not asked once more
PATIENT_S = 60  # for an answer, when nothing waits for the command


class Sender(threading.Thread):
    """Delivers what earlier stages left, then this stage's journal, until that is at its end."""

    def __init__(self, journal: Journal, target: Target) -> None:
        super().__init__(name="crywatch-tracking", daemon=True)
        self.complete = False
        self._journal, self._target = journal, target
        self._replay: Replay | None = None
        self._wake, self._idle = threading.Event(), threading.Event()
        self._closing, self._left = threading.Event(), threading.Event()
        self._pending = 0  # numbers
        self._lost_s: float | None = None
        self._warned = False
        self._refusals: set[str] = set()
        self._retry_s = RETRY_S

    # The stage's side

    def more(self, count: int = 0) -> None:
        """The journal has more: ``count`` numbers, or something that should be seen at once."""
        self._pending += count
        if not count or self._pending >= FLUSH_COUNT:
            self._idle.clear()
            self._wake.set()

    def flush(self, wait_s: float) -> bool:
        """Whether the store has all that was recorded, after at most ``wait_s``."""
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
            if self._replay is None:
                self._replay = self._open()
            self._replay.deliver()
        except StoreLost as lost:
            self._lost(lost.__cause__ or lost)
        else:
            self._lost_s, self._retry_s = None, RETRY_S
            self.complete = self._replay.ended
            if not self._wake.is_set():
                self._idle.set()

    def _open(self) -> Replay:
        try:
            destination = open_at(self._target)
            deliver_leftovers(destination, self._target, self._left.is_set)
            parent.mark_killed(destination)
        except (StoreLost, Stopped):
            raise
        except Exception as error:  # whatever the store or its driver raises
            raise StoreLost from error
        return Replay(destination, self._journal, self._refuse, self._left.is_set)

    def _lost(self, error: BaseException) -> None:
        if self._lost_s is not None:
            self._retry_s = min(self._retry_s * 2, MOST_RETRY_S)
        self._lost_s = time.monotonic()
        self._idle.set()
        if not self._warned:
            self._warned = True
            warn(f"{reason(error)}; this stage goes on, and its records are sent later")

    def _refuse(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {reason(error)}"
        if text not in self._refusals:
            self._refusals.add(text)
            warn(f"{text}; this was not logged")


@dataclass(frozen=True)
class Delivery:
    """What became of one journal."""

    name: str  # of the stage
    address: str  # of the store that it is for
    records: int  # delivered
    left: int  # records that are still in the spool
    why: str = ""  # the rest is left, or what the store refused
    running: bool = False  # the stage itself delivers it

    def line(self) -> str:
        """For a person."""
        if self.running:
            return f"{self.name}: still running, and sends its own records"
        text = f"{self.name}: {self.records} records to {self.address}"
        if self.left:
            text += f", {self.left} left"
        return f"{text}; {self.why}" if self.why else text


def deliver_leftovers(destination: Store, target: Target, stopped: Callable[[], bool]) -> None:
    """Deliver what earlier stages left for this store, each to its own experiment.

    Journals that another process holds are passed over.

    Raises
    ------
    StoreLost
        The store is gone.
    """
    spool.sweep_spool()
    experiments = {target.experiment: destination}
    for folder in spool.journals():
        journal = Journal.claim(folder)
        if journal is None:
            continue
        try:
            if journal.head.get("store") != target.address:
                continue
            name = journal.head["experiment"]
            if name not in experiments:
                experiments[name] = store.open_at(replace(target, experiment=name))
            delivery = _deliver(experiments[name], journal, stopped)
            if delivery.left and not _answers(destination, target):
                raise StoreLost(delivery.why)
        finally:
            journal.close()


def deliver(here: bool = False) -> Iterator[Delivery]:
    """Deliver every journal of the spool to its own store, or with ``here`` to the present one.

    Raises
    ------
    ConfigError
        params.yaml does not name a store.
    """
    store.be_quiet_and_quick(PATIENT_S)
    present = store.target(params.section("tracking", TrackingConfig))
    stores: dict[Target, Store | str] = {}
    spool.sweep_spool()
    for folder in spool.journals():
        journal = Journal.claim(folder)
        if journal is None:
            if folder.is_dir():
                yield Delivery(_name(folder), "", 0, 0, running=True)
            continue
        try:
            yield _deliver_one(journal, present, here, stores)
        finally:
            journal.close()
    if present not in stores and entries.are_waiting():
        with contextlib.suppress(Exception):  # the store is gone: they wait on
            stores[present] = store.open_at(present)
    for destination in stores.values():
        if isinstance(destination, Store):
            with contextlib.suppress(Exception):  # the next stage does it too
                parent.mark_killed(destination)
                entries.settle(destination)


def _deliver_one(
    journal: Journal, present: Target, here: bool, stores: dict[Target, Store | str]
) -> Delivery:
    head = journal.head
    if not head:
        return Delivery(_name(journal.folder), "", 0, journal.left(), "its head.json is damaged")
    target = present
    if not here and head["store"] != present.address:
        target = Target(head["store"], head["experiment"], None)
    elif not here:
        target = replace(present, experiment=head["experiment"])
    if target not in stores:
        try:
            stores[target] = store.open_at(target)
        except Exception as error:  # whatever a store or its driver raises
            stores[target] = reason(error)
    destination = stores[target]
    if isinstance(destination, str):
        return Delivery(head["name"], target.address, 0, journal.left(), destination)
    delivery = _deliver(destination, journal, lambda: False)
    if delivery.left and not _answers(destination, target):
        stores[target] = delivery.why
    return delivery


def _deliver(destination: Store, journal: Journal, stopped: Callable[[], bool]) -> Delivery:
    refusals: list[str] = []
    replay = Replay(destination, journal, lambda error: refusals.append(reason(error)), stopped)
    name, address = journal.head["name"], journal.head["store"]
    try:
        replay.deliver()
        replay.bury()
    except StoreLost as lost:
        why = reason(lost.__cause__ or lost)
        return Delivery(name, address, journal.done_count, max(journal.left(), 1), why)
    journal.finish()
    return Delivery(
        name, address, journal.done_count, 0, f"refused: {refusals[0]}" if refusals else ""
    )


def _answers(destination: Store, target: Target) -> bool:
    """Whether it is there, and only one journal cannot be delivered to it."""
    try:
        destination.client.get_experiment_by_name(target.experiment)
    except Exception:  # whatever the store or its driver raises
        return False
    return True


def _name(folder: Path) -> str:
    heads = [head for head in spool.heads() if folder.name.endswith(str(head.get("key")))]
    return heads[0]["name"] if heads else folder.name
