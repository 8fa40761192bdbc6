"""Events of scores that come a second at a time: `detection.decisions.merge_events`, live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from crywatch.detection.decisions import Rule

ROUNDING_S = 1e-9


@dataclass(frozen=True)
class Run:
    """Seconds that are one event if the highest of them is high enough and they last."""

    first: int  # second
    last: int  # the one after the last at or above `Rule.off`
    peak: float
    total: float  # of the scores from first to last
    offset_s: float | None = None  # None: it may go on

    @property
    def mean(self) -> float:
        """Of its scores."""
        return self.total / (self.last - self.first)


class EventStream:
    """Scores of plain seconds, one after the other, to the runs that begin and end by ``rule``.

    A run is given as soon as it is an event, and once more with its offset. The runs that end are
    the events that `merge_events` finds in all the scores.
    """

    def __init__(self, rule: Rule):
        self._rule = rule
        self._run: Run | None = None
        self._between = 0.0  # scores since the run's last second
        self._is_event = False  # the run was given
        self._second = 0

    @property
    def is_open(self) -> bool:
        """Whether an event has begun that has not ended."""
        return self._is_event

    def add(self, score: float) -> Iterator[Run]:
        """The score of the next second."""
        rule, second = self._rule, self._second
        self._second += 1
        run = self._run
        if score >= rule.off:
            if run is not None and second - run.last <= rule.max_gap_s:
                total = run.total + self._between + score
                self._run = replace(run, last=second + 1, peak=max(run.peak, score), total=total)
            else:
                yield from self._end(None)
                self._run = Run(second, second + 1, score, score)
            self._between = 0.0
            yield from self._begin()
        elif run is not None:
            self._between += score
            if second + 1 - run.last > rule.max_gap_s:
                yield from self._end(None)

    def finish(self, duration_s: float) -> Iterator[Run]:
        """The sound ends after ``duration_s`` seconds of it."""
        if self._run is not None:
            heard_s = min(float(self._run.last), duration_s) - self._run.first
            yield from self._begin(heard_s >= min(self._rule.min_event_s, duration_s) - ROUNDING_S)
        yield from self._end(duration_s)

    def _begin(self, lasts: bool = False) -> Iterator[Run]:
        run = self._run
        if run is None or self._is_event or run.peak < self._rule.on:
            return
        if lasts or run.last - run.first >= self._rule.min_event_s:
            self._is_event = True
            yield run

    def _end(self, duration_s: float | None) -> Iterator[Run]:
        run, self._run = self._run, None
        if run is not None and self._is_event:
            last = float(run.last)
            yield replace(run, offset_s=last if duration_s is None else min(last, duration_s))
        self._is_event = False
