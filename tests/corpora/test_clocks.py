"""Times that no recording has: after now, before 2000, of clocks that were never set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from crywatch.corpora.shared.clocks import doubtful_time, wrong_time

NOW = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "why"),
    [
        (NOW + timedelta(days=1, seconds=1), "is after now"),
        (datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC), "is after now"),
        (datetime(1970, 1, 1, tzinfo=UTC), "before 2000"),
        (datetime(1980, 1, 1, 12, tzinfo=UTC), "before 2000"),
        (datetime(1999, 12, 31, 23, tzinfo=UTC), "never set"),
        (datetime(2000, 1, 1, tzinfo=UTC), "never set"),
        (datetime(2000, 1, 1, 23, tzinfo=timezone(-timedelta(hours=12))), "never set"),
        (datetime(2001, 1, 1, 0, 4, tzinfo=timezone(timedelta(hours=9))), "never set"),
    ],
)
def test_a_time_that_no_recording_has_is_wrong(time, why):
    assert why in wrong_time(time, NOW)


@pytest.mark.parametrize(
    "time",
    [
        NOW,
        NOW + timedelta(hours=23),
        datetime(2000, 1, 3, tzinfo=UTC),
        datetime(2015, 1, 1, tzinfo=UTC),
    ],
)
def test_a_time_that_a_recording_may_have_is_not(time):
    assert wrong_time(time, NOW) is None


def test_the_first_hour_of_a_year_is_doubtful_in_the_zone_that_it_was_read_in():
    zone = timezone(timedelta(hours=5))
    assert "may be of a clock" in doubtful_time(datetime(2015, 1, 1, 0, 59, tzinfo=zone))
    assert "may be of a clock" in doubtful_time(datetime(2015, 1, 1, 5, 59, tzinfo=zone))
    assert "may be of a clock" in doubtful_time(datetime(2019, 4, 7, 0, 10, tzinfo=UTC))
    assert doubtful_time(datetime(2015, 6, 1, tzinfo=UTC)) is None
