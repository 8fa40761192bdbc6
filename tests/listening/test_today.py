"""Minutes of crying today: over midnight, of cries that go on, and after a restart."""

import dataclasses
from datetime import datetime, timedelta

import pytest

from crywatch.listening.events import CryEvent
from crywatch.listening.today import CryingToday

MIDNIGHT = datetime(2026, 3, 1).astimezone()


def cry(onset: datetime, minutes: float | None = None) -> CryEvent:
    event = CryEvent("e", "cot", 0.0, onset, 0.9, 0.8)
    if minutes is None:
        return event
    return dataclasses.replace(event, end_s=60 * minutes, end=onset + timedelta(minutes=minutes))


def at(minutes: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=minutes)


def test_cries_that_are_over_and_one_that_goes_on_count():
    today = CryingToday()
    for onset in (10, 20):
        today.add(cry(at(onset)))
        today.add(cry(at(onset), 2))
    today.add(cry(at(30)))
    assert today.minutes(at(31)) == pytest.approx(5)
    today.add(cry(at(30), 4))
    assert today.minutes(at(40)) == pytest.approx(8)


def test_at_midnight_it_begins_anew_and_a_cry_counts_from_there():
    today = CryingToday()
    today.add(cry(at(-30), 10))
    today.add(cry(at(-5)))
    assert today.minutes(at(-1)) == pytest.approx(14)
    assert today.minutes(at(2)) == pytest.approx(2)
    today.add(cry(at(-5), 8))
    assert today.minutes(at(10)) == pytest.approx(3)
    assert today.minutes(at(24 * 60 + 1)) == 0


def test_another_run_is_gone_on_with_on_the_same_day_alone():
    today = CryingToday()
    today.resume(at(-1).date(), 7.0, at(5))
    assert today.minutes(at(6)) == 0
    today.resume(at(1).date(), 7.0, at(7))
    assert today.minutes(at(8)) == 7
