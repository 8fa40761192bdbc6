"""Stage ``simulate_year``: streams, measures by hand, and a small year from voice to table."""

from __future__ import annotations

import zlib
from collections import namedtuple
from dataclasses import astuple, replace

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.extents import ExtentConfig
from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import save
from crywatch.data.tables import read_table
from crywatch.data.tables.infants import YEAR
from crywatch.infants import gate as gates
from crywatch.infants.follow import FollowConfig, followers
from crywatch.infants.gate import BaselineGate
from crywatch.infants.models.contract import Baseline
from crywatch.infants.models.cosine import Cosine, unit
from crywatch.infants.updating import UpdatingConfig
from crywatch.speaker import ecapa
from crywatch.speaker.batches import AveragingConfig
from crywatch.studies.simulate_year import (
    FIGURE,
    METRICS,
    TABLE,
    SimulateYearConfig,
    live,
    measures,
    run,
)
from crywatch.studies.simulate_year import voices as year_voices
from crywatch.studies.simulate_year.measures import Rules
from crywatch.studies.simulate_year.streams import DRIP, HOSTILE, INFANTS, REPEATS, SOUNDS, Calendar
from crywatch.studies.simulate_year.voices import (
    NOISE,
    OWN,
    SILENCE,
    HearingSettings,
    VoicesConfig,
    VoiceYear,
    embed,
)
from crywatch.studies.year_tables import year_tables
from tests.helpers.embedded_cases import embedding_info, recordings_table, write_store
from tests.helpers.infants_cases import conformal, models_config

CALENDAR = Calendar(
    infants=6,
    weeks=44,
    sessions=2,
    recordings=2,
    baseline_weeks=8,
    event_week=18,
    change_weeks=8,
    attack_weeks=6,
    after_weeks=4,
)
UPDATING = UpdatingConfig(
    refit_after=4, wait=8, clips=40, repeat_cosine=0.999, watch=12, hold_chance=0.01
)
DIM = 24
CHANGE = "pitch +20 %"
Place = namedtuple("Heard", "infant week session recording kind")  # its spelling draws the noise
EXTENTS = ExtentConfig(15.0, 20.0, 0.08, 0.06)


def drawn(*name) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(repr(name).encode())).standard_normal(DIM)


def vector(heard: year_voices.YearRecording) -> np.ndarray:
    """A direction for each infant, that moves over the year and jumps with a change."""
    voice = 2 * drawn("voice", heard.infant) / np.sqrt(DIM)
    voice = voice + 2.2 * heard.week / CALENDAR.weeks * drawn("age", heard.infant) / np.sqrt(DIM)
    if heard.kind == CHANGE:
        voice = voice + 2.6 * drawn("change", heard.infant) / np.sqrt(DIM)
    if heard.kind in (NOISE, SILENCE):
        voice = drawn(heard.kind)
    return unit((voice + 0.3 * drawn(Place(*astuple(heard))))[None])[0].astype(np.float32)


@pytest.fixture(scope="module")
def lived():
    vectors = {one: vector(one) for one in CALENDAR.needed([CHANGE], HOSTILE)}
    ways = followers(Cosine(), BaselineGate(None, None, 0.02), conformal(smoothed=True), UPDATING)
    return {way: live(one, CALENDAR, [CHANGE], HOSTILE, vectors) for way, one in ways.items()}


RULES = Rules(0.1, 12, 0.01, 7.0 * 18, 7.0 * 44, 14.0, 7.0 * 24)


def test_slow_development_is_followed(lived):
    found = {
        way: measures.slow(of(one.table, "slow"), RULES)["false_alarm_rate_last_quarter"].mean
        for way, one in lived.items()
    }
    assert found["gated"] < 0.25 and found["ungated"] < 0.25
    assert found["frozen"] > 2 * found["gated"]


def test_a_change_is_absorbed_only_without_the_gate(lived):
    found = {way: measures.change(of(one.table, "change"), RULES) for way, one in lived.items()}
    assert found["gated"]["alarms_at_last"].mean > found["ungated"]["alarms_at_last"].mean + 0.2
    assert found["gated"]["accepted"].mean < 0.4
    assert found["ungated"]["accepted"].mean == 1
    assert found["gated"]["noticed"].mean == 1


def test_hostile_streams_draw_a_baseline_without_the_gate(lived):
    for kind in (INFANTS, REPEATS, SOUNDS):
        drift = {way: np.mean(one.drift[kind]) for way, one in lived.items()}
        assert drift["gated"] < drift["ungated"], kind
        assert drift["frozen"] == 0
    rows = of(lived["gated"].table, "attack", REPEATS)
    assert rows.loc[rows["hostile"], "accepted"].sum() == 0


def test_until_the_event_there_is_one_life(lived):
    table = lived["gated"].table
    event = table[(table["scenario"] != "slow")].groupby(["scenario", "kind"])["day"].min()
    assert (event == 7.0 * CALENDAR.event_week).all()
    assert of(table, "slow")["day"].min() == 7.0 * CALENDAR.baseline_weeks


def of(table: pd.DataFrame, scenario: str, kind: str | None = None) -> pd.DataFrame:
    rows = table[table["scenario"] == scenario]
    return rows if kind is None else rows[rows["kind"] == kind]


def test_what_is_needed_is_what_is_asked_for():
    small = replace(CALENDAR, infants=2, weeks=30, recordings=1)
    needed = small.needed([CHANGE], [SOUNDS, DRIP])
    assert len(needed) == len(set(needed)) == 2 * (30 * 2 + 8 * 2 + 6 * 2 * 2)
    vectors = {one: vector(one) for one in needed}
    for kind in HOSTILE:
        for infant in range(2):
            stream = small.attacked(infant, kind, vectors)
            times = [one.recorded_at for one in stream]
            assert times == sorted(times)
            assert len({one.clip_id for one in stream}) == len(stream)
            hostile = [one for one in stream if one.clip_id.endswith(f" {kind}")]
            assert len(hostile) == {DRIP: 6, SOUNDS: 24}.get(kind, 12)
            own = {vectors[one].tobytes() for one in small.own(infant, 18, 24)}
            assert not {one.vector.tobytes() for one in hostile} & own


@pytest.mark.parametrize(
    "changes", [{"event_week": 8}, {"after_weeks": 40}, {"infants": 1}, {"recordings": 0}]
)
def test_a_calendar_must_have_room(changes):
    with pytest.raises(ConfigError, match="simulate_year"):
        replace(CALENDAR, **changes)


@pytest.mark.parametrize("key", ["changes", "hostile"])
def test_what_cannot_happen_is_refused_before_anything_is_made(key):
    """Any other name of a change would make breath under that name."""
    given = {"changes": ["breath"], "hostile": ["drip"], key: ["pitch +30 %"]}
    with pytest.raises(ConfigError, match=rf"simulate_year\.{key} has no 'pitch \+30 %'"):
        SimulateYearConfig(1, None, None, **given, trimming_p=0.05, workers=1)


def stretch(alarms: str, days=None) -> pd.DataFrame:
    """One infant's rows; x is an alarm."""
    count = len(alarms)
    return pd.DataFrame(
        {
            "infant": 0,
            "order": range(count),
            "day": np.arange(count) + 126.0 if days is None else days,
            "hostile": False,
            "alarm": [letter == "x" for letter in alarms],
            "accepted": [letter != "x" for letter in alarms],
            "reason": [None] * count,
        }
    )


def test_delays_by_hand():
    # Of 12 recordings at a rate of 0.1, five alarms are more than chance gives in one of 100.
    found = measures.change(stretch("..x..x.x.x.x.x"), RULES)
    assert found["first_alarm_recordings"].mean == 3 and found["first_alarm_days"].mean == 2
    assert found["noticed_recordings"].mean == 12 and found["noticed_days"].mean == 11
    assert found["noticed"].mean == 1
    silent = measures.change(stretch("." * 20), RULES)
    assert silent["noticed"].mean == 0 and "noticed_days" not in silent
    # Alarms that are far apart are chance.
    assert measures.change(stretch("x....." * 5), RULES)["noticed"].mean == 0


def test_false_alarms_a_month_by_hand():
    days = np.linspace(0, 365.25 / 6, 21)[:-1]
    rules = replace(RULES, end_day=365.25 / 6)
    found = measures.slow(stretch("xx" + "." * 18, days), rules)
    assert found["false_alarms_a_month"].mean == pytest.approx(1.0)
    assert found["false_alarm_rate"].mean == pytest.approx(0.1)


def test_drift_by_hand():
    square = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=float)
    one = Baseline("a", square, np.arange(4))
    assert measures.drift_of(one, one) == 0
    assert measures.drift_of(replace(one, vectors=square + [3, 4]), one) == pytest.approx(5)


def year_of(folder) -> VoiceYear:
    return VoiceYear(
        seed=1,
        weeks=52,
        voices=VoicesConfig(0.8, 0.1, 0.1),
        network_dir=str(folder),
        hearing=HearingSettings(AveragingConfig(0), EXTENTS, 0.1),
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    made = ecapa.build(ecapa.EcapaConfig(ecapa.RANDOM, 8, []), 0)
    save(folder, ecapa.to_model(made, "toy"))
    return folder


def test_voices_fall_over_the_year(network):
    year = year_of(network)
    young, old = year.voice(0, 0), year.voice(0, 51)
    assert old.f0_hz == pytest.approx(0.9 * young.f0_hz)
    assert old.formants_hz == pytest.approx(tuple(0.9 * hz for hz in young.formants_hz))
    assert year.voice(1, 0) != young


def test_processes_and_portions_do_not_matter(network, monkeypatch):
    year = year_of(network)
    heard = [year_voices.YearRecording(0, 3, 0, 0, kind) for kind in (OWN, CHANGE, NOISE, SILENCE)]
    whole = embed(year, heard, 1)
    monkeypatch.setattr(year_voices, "_CHUNK", 3)
    parts = embed(year, heard[::-1], 1)
    for one in heard:
        assert whole[one].tobytes() == parts[one].tobytes()
        assert np.linalg.norm(whole[one]) == pytest.approx(1, abs=1e-5)
    assert len({array.tobytes() for array in whole.values()}) == len(heard)


@pytest.fixture(scope="module")
def small_year(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    write_store(folder / "store", recordings_table({"a": 4, "b": 4}))
    gates.save(folder / "gate", BaselineGate(None, None, 0.02), {"digest": embedding_info().digest})
    for name in ("out", "again"):
        run_small(folder, network, name)
    return folder


def run_small(folder, network, name):
    config = SimulateYearConfig(
        seed=1,
        calendar=Calendar(2, 9, 2, 2, 4, 5, 2, 2, 1),
        voices=VoicesConfig(0.6, 0.1, 0.1),
        changes=[CHANGE],
        hostile=[SOUNDS, REPEATS],
        trimming_p=0.1,
        workers=1,
    )
    return run(
        folder / "store",
        network,
        folder / "gate",
        config,
        FollowConfig("cosine", ["test"], ["planted"], UPDATING),
        conformal(smoothed=True),
        models_config(),
        HearingSettings(AveragingConfig(0), EXTENTS, 0.1),
        folder / name,
    )


def test_two_runs_give_equal_bytes(small_year):
    for name in (TABLE, METRICS, FIGURE):
        assert (small_year / "out" / name).read_bytes() == (
            small_year / "again" / name
        ).read_bytes()


def test_the_year_has_every_way(small_year):
    table = read_table(small_year / "out" / TABLE, YEAR)
    assert set(table["way"]) == {"gated", "ungated", "frozen", "trimming"}
    assert set(table.loc[table["way"] == "trimming", "scenario"]) == {"slow"}
    assert not table.loc[table["way"] == "frozen", "accepted"].any()
    assert table.loc[table["scenario"] != "attack", "hostile"].sum() == 0


def test_the_report_has_a_table_a_scenario(small_year):
    slow, change, attack = year_tables(small_year / "out")
    assert [row[0] for row in slow.rows][:2] == ["with the gate", "without it"]
    assert len(change.rows) == 3 and len(attack.rows) == 6
    for table in (slow, change, attack):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert "generated" in table.note
    with pytest.raises(TableError, match=r"dvc repro studies/dvc\.yaml:simulate_year"):
        year_tables(small_year / "none")
