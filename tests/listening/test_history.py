"""The history of nights: what it keeps, through restarts, and for how long."""

from __future__ import annotations

import stat

import pytest

from crywatch.core.errors import StoreError
from crywatch.listening.history import History, HistoryRecorder, InfantScore, Minute, PastEvent
from tests.helpers.page_cases import NIGHT, at, cry, second

START = NIGHT.timestamp()
FOREVER = 1e6  # days


@pytest.fixture
def history(tmp_path) -> History:
    return History(tmp_path / "state" / "history.db")


def recorder(history: History, days: float = FOREVER) -> HistoryRecorder:
    return HistoryRecorder(history, print, days, sources=["camera"])


def everything(history: History):
    return history.minutes(0, 1e12), history.events(0, 1e12)


def test_seconds_become_minutes_and_events_have_their_ends(history):
    sink = recorder(history)
    for start_s in range(130):
        sink.second(second(float(start_s), cry=0.9 if start_s == 70 else 0.1))
    sink.event(cry(69.0))
    sink.event(cry(69.0, 75.0))
    sink.event(cry(129.0))
    sink.close()
    minutes, events = everything(history)
    assert [(m.start - START, m.seconds, m.cry) for m in minutes] == [
        (0, 60, 0.1),
        (60, 60, 0.9),
        (120, 10, 0.1),
    ]
    assert minutes[1].level_dbfs == pytest.approx(-22.0)
    assert [(e.onset - START, e.end and e.end - START) for e in events] == [(69, 75), (129, None)]
    assert history.minutes(START + 60, START + 120) == minutes[1:2]
    assert history.events(START + 71, START + 72) == events[:1]


def test_a_restart_joins_minutes_and_ends_what_a_kill_left_open(history):
    first = recorder(history)
    for start_s in range(90):
        first.second(second(float(start_s)))
    first.event(cry(80.0))
    first.wait()  # and then it is killed: the minute that has begun is lost
    again = recorder(History(history.path))
    for start_s in range(100, 120):
        again.second(second(float(start_s)))
    again.close()
    minutes, [event] = everything(history)
    assert [(m.start - START, m.seconds) for m in minutes] == [(0, 60), (60, 20)]
    assert event.end == START + 80.0  # what was heard of it begins after its last minute
    recorder(history).close()
    assert everything(history)[0] == minutes


def test_what_was_said_of_an_event_stays_with_it(history):
    history.put(cry(5.0))
    score = InfantScore("Mia", 0.02, True, "", 3)
    history.score("cry-5", score)
    history.label("cry-5", "other")
    history.put(cry(5.0, 9.0))
    assert history.event("cry-5") == PastEvent(
        "cry-5", "camera", START + 5, START + 9, 0.9, "other", score
    )
    assert [event.id for event in history.scored("Mia", START)] == ["cry-5"]
    assert history.scored("Mia", START + 6) == history.scored("Ada", 0) == []
    assert history.event("none") is None
    with pytest.raises(StoreError, match="no event 'none'"):
        history.label("none", "cry")


def test_old_nights_are_forgotten(history):
    history.add(Minute(START, "camera", 60, -30.0, 0.1))
    history.put(cry(0.0, 5.0))
    history.prune(START)
    assert [len(part) for part in everything(history)] == [1, 1]
    history.prune(START + 1)
    assert [len(part) for part in everything(history)] == [0, 0]


def test_days_are_counted_from_now(history):
    old = at(-400 * 86_400 * 20)
    history.add(Minute(old.timestamp(), "camera", 60, -30.0, 0.1))
    recorder(history, days=30.0).close()
    assert everything(history)[0] == []


def test_the_store_is_for_its_owner_alone(history):
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700


def test_what_is_no_history_is_told(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"something else, long enough to be no database at all" * 20)
    with pytest.raises(StoreError, match=r"x\.db: .* move it away"):
        History(path)
    import sqlite3

    with sqlite3.connect(tmp_path / "y.db") as connection:
        connection.execute("create table other (a)")
    connection.close()
    with pytest.raises(StoreError, match="no history of this version"):
        History(tmp_path / "y.db")


def test_a_store_that_fails_is_told_once_and_the_sink_goes_on(tmp_path):
    lines: list[str] = []
    history = History(tmp_path / "h.db")
    sink = HistoryRecorder(history, lines.append, FOREVER)
    sink.wait()
    history.path.write_bytes(b"damaged" * 1000)
    for name in ("a", "b", "c"):
        sink.event(cry(1.0, name=name))
    sink.wait()
    history.path.unlink()
    assert len(lines) == 1 and "h.db" in lines[0]
    sink.close()
