"""Stage ``fit_infants``: the test part is reported, the training part is only compared with."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from crywatch.core.atomic import read_json
from crywatch.core.digest import files_sha256
from crywatch.data.tables import conform
from crywatch.data.tables.infants import RECORDINGS
from crywatch.infants import gate, storage
from crywatch.infants.conformal import judge
from crywatch.infants.embedded_cries import EmbeddedCries, write_embedded
from crywatch.infants.fit_infants import as_table, fit, maker, run
from crywatch.infants.models.registry import MODELS, build
from crywatch.report.infant_tables import infant_tables
from crywatch.report.state_tables import state_tables
from tests.helpers import infants_cases as cases
from tests.helpers.embedded_cases import (
    PARTS,
    embedding_info,
    fit_config,
    recordings_table,
    timelines,
    vectors_of,
    write_store,
    write_timelines,
)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded") / "store"
    write_timelines(folder)
    return folder


def fit_from(name, folder, config, seed, out):
    return fit(name, EmbeddedCries(folder), config, seed, out)


def test_the_stage_makes_the_gate_and_every_model(embedded, tmp_path):
    config = fit_config(models=["cosine", "mixture"])
    summary = run(embedded, config, 1, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "gate",
        "cosine",
        "mixture",
        "states.json",
    }
    assert list(summary.models) == ["cosine", "mixture"]
    gate.load(tmp_path / "out" / "gate", EmbeddedCries(embedded).digest)
    assert set(summary.gate.heads) == set(gate.HEADS)
    # t1 alone has the other state; network and statistics, each with every model
    rows = [(row.vectors, row.model, row.infants, row.part) for row in summary.states]
    assert rows == [(v, m, 1, "test") for v in ("ge2e", "logmel") for m in ("cosine", "mixture")]
    assert all(row.auc > 0.9 and row.other_recordings == 4 for row in summary.states)
    name = "states.test.recordings.hunger_planted_pitch_plus_20_pct.ge2e.cosine.auc"
    assert summary.state_metrics()[name] == summary.states[0].auc
    (table,) = state_tables(tmp_path / "out")
    assert len(table.rows) == 4 and table.rows[0][:4] == [
        "recordings",
        "hunger, planted pitch +20 %",
        "ECAPA-TDNN, GE2E",
        "cosine to the centroid",
    ]
    alone = fit_from("cosine", embedded, config, 1, tmp_path / "cosine")
    assert summary.models["cosine"].metrics() == alone.metrics()
    assert files_sha256([tmp_path / "out" / "cosine"]) == files_sha256([tmp_path / "cosine"])


def test_the_number_of_processes_changes_nothing(embedded, tmp_path):
    for workers in (1, 2):
        config = fit_config(models=["mahalanobis", "mixture"], workers=workers, default="mixture")
        run(embedded, config, 1, tmp_path / str(workers))
    assert files_sha256([tmp_path / "1"]) == files_sha256([tmp_path / "2"])


def test_the_stage_leaves_all_or_nothing(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr("crywatch.infants.fit_infants.write_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(embedded, fit_config(models=["cosine"]), 1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_judged_and_stored(embedded, tmp_path, name):
    summary = fit_from(name, embedded, fit_config(), 1, tmp_path / name)
    rows = {row.infant_id: row for row in summary.parts["test"].rows}
    assert set(rows) == {"t1", "t2", "t3"}
    # A planted change is neither in the baseline nor a false alarm.
    assert rows["t1"].recordings == 26 and rows["t2"].recordings == 30
    assert rows["t1"].changed_clips == {"planted": 4} and rows["t1"].changed["planted"] > 0.7
    assert rows["t2"].changed == {} and rows["t2"].detected["pitch +40 %"] > 0.7
    assert not rows["t3"].promised and rows["t3"].reason
    assert {row.infant_id for row in summary.parts["val"].rows} == {"Val/1", "v2"}
    names = {path.name for path in (tmp_path / name / "infants").iterdir()}
    assert names == {storage.file_name(one) for one in PARTS}
    stored = storage.load(tmp_path / name / "infants" / storage.file_name("t2"))
    store = EmbeddedCries(embedded)
    model = build(name, fit_config().settings, 1, store.cohort(["planted"]))
    assert stored.model == name and stored.maker == maker(model, fit_config(), store.digest, 1)
    infant = next(one for one in store.infants(["test"]) if one.infant_id == "t2")
    (judged,) = judge(model, [stored.calibrated], [infant.vectors[18:]])
    assert int(judged.alarms.sum()) == rows["t2"].alarms


def test_what_is_written(embedded, tmp_path):
    summary = fit_from("mahalanobis", embedded, fit_config(), 1, tmp_path / "out")
    frame = pd.read_csv(tmp_path / "out" / "table.csv")
    assert frame["infant_id"].tolist() == ["t1", "t2", "t3", "mean", "sd"]
    mean, found = frame.iloc[3], summary.parts["test"].summary
    assert mean["auc"] == pytest.approx(found.means["auc"].mean)
    assert mean["fpr"] == pytest.approx(found.rate_seen)
    assert frame["fpr"].notna().tolist() == [True, True, False, True, True]
    assert mean["detected planted"] == frame["detected planted"][0]
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert all(isinstance(value, float) for value in metrics.values())
    assert metrics["test.rate_seen"] == found.rate_seen and "val.auc" in metrics
    assert metrics["test.detected.pitch_plus_40_pct"] > 0.7
    assert "test.controls.noise_20_dB" in metrics and "test.changed.planted" in metrics
    # As the tracking store takes them.
    assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in metrics)
    assert summary.headline()["infants.rate_seen"] == found.rate_seen
    tables = read_json(tmp_path / "out" / "tables.json")
    assert tables["model"] == "mahalanobis" and set(tables["parts"]) == {"test", "val"}
    fit_from("mahalanobis", embedded, fit_config(), 1, tmp_path / "again" / "out")
    assert files_sha256([tmp_path / "out"]) == files_sha256([tmp_path / "again" / "out"])


def test_the_cohort_is_the_training_part_without_known_changes(embedded, tmp_path):
    frame = timelines()
    vectors = vectors_of(frame)
    vectors[(frame["infant_id"] == "v2").to_numpy()] *= -1  # neither in test nor in the cohort
    write_embedded(tmp_path / "val", embedding_info(), frame, vectors)
    vectors = vectors_of(frame)
    vectors[(frame["split"] == "train").to_numpy()] *= -1
    write_embedded(tmp_path / "train", embedding_info(), frame, vectors)
    write_store(tmp_path / "same", frame)
    found = {
        name: fit_from("cosine", tmp_path / name, fit_config(), 1, tmp_path / "out" / name)
        for name in ("same", "val", "train")
    }
    rows = {name: summary.parts["test"].rows for name, summary in found.items()}
    assert rows["same"] == rows["val"]
    stored = {
        name: storage.load(tmp_path / "out" / name / "infants" / storage.file_name("t1"))
        for name in found
    }
    assert stored["same"].maker == stored["val"].maker != stored["train"].maker


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", ["one session", "no times", "nobody"])
def test_without_usable_infants_nothing_is_measured_and_the_tables_say_so(name, case, tmp_path):
    """As of a corpus whose infants have a recording or two; the cohort is there."""
    frame = timelines()
    if case == "one session":
        frame["session_id"] = frame["infant_id"]
    elif case == "no times":
        frame["recorded_at"] = pd.NaT
    else:
        frame = frame[frame["split"] == "train"].reset_index(drop=True)
    write_store(tmp_path / "store", conform(frame, RECORDINGS))
    found = fit_from(name, tmp_path / "store", fit_config(), 1, tmp_path / "out" / name)
    unusable = 0 if case == "nobody" else 3
    test = found.parts["test"]
    assert test.rows == () and len(test.unusable) == unusable
    assert found.headline() == {"infants.rate_promised": 0.1}
    assert list((tmp_path / "out" / name / "infants").iterdir()) == []
    infants, models = infant_tables(tmp_path / "out", [name], name)
    assert infants.rows == [] and ("3 infant(s) have too few" in infants.note) == bool(unusable)
    assert models.rows[0][1:5] == ["0 of 0", "n/a", "n/a", "n/a"]


def test_what_made_a_model_is_in_its_digest(embedded):
    store = EmbeddedCries(embedded)
    cosine = build("cosine", fit_config(0).settings, 1)
    given = fit_config(0)
    digests = [
        maker(cosine, given, store.digest, 1),
        maker(cosine, given, "other", 1),
        maker(cosine, replace(given, conformal=cases.conformal(rate=0.2)), store.digest, 1),
        maker(
            build("cosine", fit_config().settings, 1, store.cohort()), fit_config(), store.digest, 1
        ),
        maker(build("mixture", given.settings, 1), given, store.digest, 1),
    ]
    assert len(set(digests)) == len(digests)
    # Another model's settings do not matter.
    other = fit_config(0)
    other.settings.mixture.components += 1
    assert maker(cosine, other, store.digest, 1) == digests[0]


def test_a_part_without_infants(tmp_path):
    frame = recordings_table({"a": 4, "b": 4})
    write_embedded(tmp_path / "store", embedding_info(), frame, vectors_of(frame))
    summary = fit_from("cosine", tmp_path / "store", fit_config(0), 1, tmp_path / "out")
    assert len(as_table(summary.parts["test"])) == 0
    assert summary.metrics()["test.infants"] == 0 and "infants.rate_seen" not in summary.headline()
    assert list((tmp_path / "out" / "infants").iterdir()) == []
    assert len(pd.read_csv(tmp_path / "out" / "table.csv")) == 0


def test_the_names_of_files_are_safe_and_apart():
    assert storage.file_name("infant_03.a-b") == "infant_03.a-b.safetensors"
    names = [
        storage.file_name(name) for name in ("A", "a", "a/b", "a_b", "../a", "", "é", 99 * "a")
    ]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert name.endswith(storage.SUFFIX) and len(name) < 120 and name.isascii()
        assert "/" not in name and not name.startswith(".")
