"""The sink that keeps minutes and events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from crywatch.listening.background import Background
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState
from crywatch.listening.history.store import MINUTE_S, History, Minute

DAYS = 30.0  # that are kept
DAY_S = 86_400
PRUNE_S = 3600.0


class HistoryRecorder:
    """Fills a history; a minute is written when the next one has begun.

    ``changed`` is called with the id of an event when what is new of it is in the history. What a
    killed listener left open of ``sources`` ends.
    """

    def __init__(
        self,
        history: History,
        say: Callable[[str], None],
        days: float = DAYS,
        changed: Callable[[str], None] = lambda event_id: None,
        sources: Sequence[str] = (),
    ):
        self.history, self.days, self._changed = history, days, changed
        self._open: dict[str, Minute] = {}
        self._work = Background("history", say)
        self._pruned_s = time.monotonic()
        self._work.do(history.end_open, sources)
        self._work.do(self._prune)

    def sound(self, sound: Sound) -> None:
        """No sound is kept."""

    def second(self, second: SecondScore) -> None:
        """Into its minute."""
        start = second.at.timestamp() // MINUTE_S * MINUTE_S
        minute = self._open.get(second.source)
        if minute is None or minute.start != start:
            self._write(minute)
            minute = Minute(start, second.source, 0, second.level_dbfs, second.cry)
        self._open[second.source] = replace(
            minute,
            seconds=minute.seconds + 1,
            level_dbfs=max(minute.level_dbfs, second.level_dbfs),
            cry=max(minute.cry, second.cry),
        )
        if time.monotonic() - self._pruned_s > PRUNE_S:
            self._pruned_s = time.monotonic()
            self._work.do(self._prune)

    def event(self, event: CryEvent) -> None:
        """At once."""
        self._work.do(self._put, event)

    def state(self, state: SourceState) -> None:
        """A gap is where there are no minutes."""

    def close(self) -> None:
        """Write the minutes that have begun."""
        for minute in self._open.values():
            self._write(minute)
        self._open.clear()
        self._work.close()

    def wait(self) -> None:
        """Until all that was told is in the store."""
        self._work.wait()

    def _write(self, minute: Minute | None) -> None:
        if minute is not None:
            self._work.do(self.history.add, minute)

    def _put(self, event: CryEvent) -> None:
        self.history.put(event)
        self._changed(event.id)

    def _prune(self) -> None:
        self.history.prune(time.time() - self.days * DAY_S)
