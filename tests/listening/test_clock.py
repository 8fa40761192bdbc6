"""The source's clock and ours: gaps, drifts and steps."""

from datetime import UTC, datetime, timedelta

import pytest

from crywatch.listening.clock import SourceClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clocks:
    """Time as a test lets it pass; ``step`` is what was added to the wall clock alone."""

    def __init__(self):
        self.now, self.step = 1000.0, timedelta()
        self.source = SourceClock(lambda: self.now, lambda: self.utc(self.now) + self.step)

    @staticmethod
    def utc(now):
        return NOON + timedelta(seconds=now - 1000.0)

    def piece(self, lasts_s, after_s, gap_s=0.0):
        self.now += after_s
        return self.source.add(lasts_s, gap_s)


def test_pieces_follow_each_other_whenever_they_come():
    clocks = Clocks()
    assert clocks.piece(1.0, 1.0) == (0.0, NOON)
    assert clocks.piece(1.0, 1.4) == (1.0, NOON + timedelta(seconds=1))  # 0.4 s late
    assert clocks.piece(1.0, 0.6) == (2.0, NOON + timedelta(seconds=2))


def test_what_is_late_is_known_and_a_gap_is_counted():
    clocks = Clocks()
    assert clocks.source.late_s(1.0) == 0.0
    clocks.piece(1.0, 1.0)
    clocks.now += 31.0
    assert clocks.source.late_s(1.0) == pytest.approx(30.0)
    assert clocks.piece(1.0, 0.0, 30.0) == (31.0, NOON + timedelta(seconds=31))
    assert clocks.source.end_s == 32.0


def test_a_step_of_our_clock_moves_what_it_shows_alone():
    clocks = Clocks()
    clocks.piece(1.0, 1.0)
    clocks.step = timedelta(hours=-1)
    assert clocks.source.late_s(1.0) == pytest.approx(-1.0)  # not yet due
    start_s, at = clocks.piece(1.0, 1.0)
    assert (start_s, at) == (1.0, NOON + timedelta(hours=-1, seconds=1))


@pytest.mark.parametrize("rate", [0.999, 1.001])
def test_a_clock_that_drifts_is_followed(rate):
    clocks = Clocks()
    for _ in range(2 * 3600):
        before = clocks.now
        _, at = clocks.piece(1.0, rate)
    assert abs((at - clocks.utc(before)).total_seconds()) < 0.1
