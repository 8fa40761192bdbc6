"""Minutes of crying since midnight, by the listener's own time of day."""

from __future__ import annotations

from datetime import date, datetime

from crywatch.listening.events import CryEvent


class CryingToday:
    """Of one source; events that are over count, and so does one that goes on."""

    def __init__(self) -> None:
        self._day = date.min
        self._ended_s = 0.0  # of the events of that day that are over
        self._open: CryEvent | None = None

    def add(self, event: CryEvent) -> None:
        """An event's onset, or its end."""
        if event.end is None:
            self._open = event
            return
        self._open = None
        self._turn(event.end)
        self._ended_s += self._lasts_s(event, event.end)

    def resume(self, day: date, minutes: float, now: datetime) -> None:
        """What another run of the listener had counted on ``day``, before this one."""
        self._turn(now)
        if day == self._day:
            self._ended_s += 60 * minutes

    def minutes(self, now: datetime) -> float:
        """Until ``now`` (UTC), of the day that it is."""
        self._turn(now)
        open_s = 0.0 if self._open is None else self._lasts_s(self._open, now)
        return (self._ended_s + open_s) / 60

    @property
    def day(self) -> date:
        """That was counted last."""
        return self._day

    def _turn(self, now: datetime) -> None:
        day = now.astimezone().date()
        if day > self._day:  # a clock that is set back adds to the day that was
            self._day, self._ended_s = day, 0.0

    def _lasts_s(self, event: CryEvent, until: datetime) -> float:
        local = until.astimezone()
        midnight = datetime.combine(self._day, datetime.min.time(), local.tzinfo)
        return max(0.0, (until - max(event.onset, midnight)).total_seconds())
