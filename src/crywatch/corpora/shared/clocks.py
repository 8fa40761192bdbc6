"""Times that no recording of a digital recorder has: of clocks that run wrong or were never set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(days=1)  # of a time after now: zones that were left out, clocks that are fast
_ZONE = timedelta(hours=14)  # the furthest from UTC
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # counts from 1601, 1904, 1970 and 1980 begin before it
_BEGINNINGS = (_FIRST, datetime(2001, 1, 1, tzinfo=UTC))  # days at which recorders begin to count
_GPS = (2019, 4, 7)  # at which the week number of receivers begins again
_FIRST_HOUR = timedelta(hours=1)


def wrong_time(time: datetime, now: datetime | None = None) -> str | None:
    """Why ``time`` (with a zone) is not that of a recording; None where it may be."""
    now = now or datetime.now(UTC)
    text = time.isoformat()
    if time > now + TOLERANCE:
        return f"{text} is after now ({now.isoformat(timespec='minutes')})"
    if any(day - _ZONE <= time < day + timedelta(days=1) + _ZONE for day in _BEGINNINGS):
        return f"{text} is where recorders whose clock was never set begin to count"
    if time < _FIRST:
        return f"{text} is before 2000, as of a clock that was never set"
    return None


def doubtful_time(time: datetime) -> str | None:
    """Why ``time`` may be that of a clock that was never set, though it can be right; or None.

    Cameras begin at the first hour of the year in which they were made, in whatever zone the time
    was read: its own, UTC or this machine's.
    """
    for read in (time, time.astimezone(UTC), time.astimezone()):
        day = (read.year, read.month, read.day)
        since_midnight = timedelta(hours=read.hour, minutes=read.minute, seconds=read.second)
        if since_midnight < _FIRST_HOUR and (day[1:] == (1, 1) or day == _GPS):
            return f"{time.isoformat()} may be of a clock that was never set: look whether it is so"
    return None
