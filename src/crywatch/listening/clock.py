"""When a source's samples were heard, by its own count of them and by our clock."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta

REACH_S, PARTS = 60.0, 6  # what came with the least delay in so many seconds tells the time


class SourceClock:
    """The source's clock, tied to ours by the samples that came with the least delay.

    A sample comes after it was heard, never before; so where the least of the last minute's
    delays grows or shrinks, the source's clock is slow or fast. A step of our own clock moves what
    it shows, and nothing else: all is measured by one that has no steps.
    """

    def __init__(self, monotonic=time.monotonic, utc=lambda: datetime.now(UTC)):
        self._monotonic, self._utc = monotonic, utc
        self.end_s = 0.0  # of what came so far, by the source's clock
        self._leads: deque[list[float]] = deque(maxlen=PARTS)  # [part, least of arrival - end_s]

    def late_s(self, count_s: float) -> float:
        """How much later than by the samples so far a piece of ``count_s`` comes now."""
        if not self._leads:
            return 0.0
        return self._monotonic() - self._lead() - self.end_s - count_s

    def add(self, count_s: float, gap_s: float = 0.0) -> tuple[float, datetime]:
        """A piece came now, after a gap: when it began, by the source's clock and by ours."""
        start_s = self.end_s + gap_s
        self.end_s = start_s + count_s
        now = self._monotonic()
        lead, part = now - self.end_s, now // (REACH_S / PARTS)
        if self._leads and self._leads[-1][0] == part:
            self._leads[-1][1] = min(self._leads[-1][1], lead)
        else:
            self._leads.append([part, lead])
        return start_s, self._utc() - timedelta(seconds=now - self._lead() - start_s)

    def _lead(self) -> float:
        return min(lead for _, lead in self._leads)
