"""Following infants: tables, and what the gate changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, ModelError
from crywatch.data.tables import read_table
from crywatch.data.tables.infants import BANDS, FOLLOWED
from crywatch.infants import gate as gates
from crywatch.infants.estimates import Estimate
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.follow import (
    BANDS_TABLE,
    FROZEN,
    GATED,
    METRICS,
    TABLE,
    UNGATED,
    FollowConfig,
    follow_infants,
)
from crywatch.infants.gate import BaselineGate
from crywatch.infants.updating import UpdatingConfig
from crywatch.report.follow_tables import follow_tables
from tests.helpers.embedded_cases import embedding_info, recordings_table, vectors_of, write_store
from tests.helpers.infants_cases import conformal, models_config

COUNT = 80  # recordings of an infant
SPLITS = {"a": "test", "b": "test", "c": "val", "short": "test", "d": "train"}
CONFIG = FollowConfig(
    model="cosine",
    parts=["val", "test"],
    changed=["planted"],
    updating=UpdatingConfig(
        refit_after=4, wait=4, clips=40, repeat_cosine=0.999, watch=12, hold_chance=0.01
    ),
)
DIVISION = DivisionConfig(0.5, 2, 4, 1)
PLANTED = "planted pitch +20 %"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Infants a and c end in a planted change; ``short`` has a single session."""
    top = tmp_path_factory.mktemp("follow")
    counts = {"a": COUNT, "b": COUNT, "c": COUNT, "short": 2, "d": COUNT}
    rows = [*range(COUNT - 10, COUNT), *range(3 * COUNT - 10, 3 * COUNT)]
    frame = recordings_table(counts, SPLITS, categories=dict.fromkeys(rows, PLANTED))
    write_store(top / "store", frame, spread=1.0)
    gates.save(top / "gate", BaselineGate(None, None, 0.02), {"digest": embedding_info().digest})
    run_in(top, "out")
    return top


def run_in(folder, out: str, config=CONFIG):
    return follow_infants(
        folder / "store",
        folder / "gate",
        config,
        conformal(smoothed=True),
        DIVISION,
        models_config(),
        1,
        folder / out,
    )


def test_the_table_holds_baseline_and_new_recordings_in_order(folder):
    table = read_table(folder / "out" / TABLE, FOLLOWED)
    assert set(table["infant_id"]) == {"a", "b", "c"}
    for _, rows in table.groupby("infant_id"):
        assert len(rows) == COUNT and rows["recorded_at"].is_monotonic_increasing
        known, new = rows[rows["phase"] == "baseline"], rows[rows["phase"] == "new"]
        assert known["recorded_at"].max() < new["recorded_at"].min()
        assert known["score"].notna().all() and known["p"].isna().all()
        assert new["p"].between(0, 1).all() and (known["version"] == 0).all()
        assert new["version"].is_monotonic_increasing and new["version"].iloc[-1] > 0
        assert (new["reason"].isna() == new["accepted"]).all()
    remarks = table.loc[table["remark"].notna(), "remark"]
    assert len(remarks) == 20 and set(remarks) == {PLANTED}


def test_calibration_scores_stand_with_their_recordings(folder):
    """Leave-one-session-out scores of the cosine model, by hand."""
    table = read_table(folder / "out" / TABLE, FOLLOWED)
    rows = table[(table["infant_id"] == "b") & (table["phase"] == "baseline")].reset_index()
    frame = recordings_table({"b": COUNT})
    vectors = vectors_of(frame)[: len(rows)].astype(float)
    if len(rows) < conformal().loo_below:
        for number, row in rows.iterrows():
            rest = vectors[(rows["session_id"] != row["session_id"]).to_numpy()].sum(axis=0)
            expected = 1 - vectors[number] @ rest / np.linalg.norm(rest)
            assert row["score"] == pytest.approx(expected, abs=1e-5)
    else:
        # Five folds: no closed form is worth writing, but far recordings have high scores.
        rest = 1 - vectors @ vectors.sum(axis=0) / np.linalg.norm(vectors.sum(axis=0))
        assert np.corrcoef(rest, rows["score"])[0, 1] > 0.9


def test_bands_follow_the_versions(folder):
    bands = read_table(folder / "out" / BANDS_TABLE, BANDS)
    table = read_table(folder / "out" / TABLE, FOLLOWED)
    for infant_id, rows in bands.groupby("infant_id"):
        assert rows["version"].tolist() == list(range(len(rows)))
        new = table[(table["infant_id"] == infant_id) & (table["phase"] == "new")]
        for row in rows[rows["version"] > 0].itertuples():
            assert row.since == new.loc[new["version"] == row.version, "recorded_at"].min()
        assert (rows["low"] <= rows["centre"]).all() and (rows["centre"] <= rows["high"]).all()


def test_planted_changes_alarm_and_enter_only_without_the_gate(folder):
    metrics = read_json(folder / "out" / METRICS)
    rows = {(row["infant_id"], row["way"]): row for row in metrics["rows"]}
    for infant in "ac":
        assert rows[infant, GATED]["changed"] == 10
        assert rows[infant, GATED]["detected"] > 0.8
        assert rows[infant, GATED]["accepted_changed"] < 0.3
        assert rows[infant, UNGATED]["accepted_changed"] == 1
    assert rows["a", GATED]["held_since"] is not None and rows["b", GATED]["held_since"] is None
    assert rows["b", GATED]["changed"] == 0 and rows["b", GATED]["detected"] is None
    assert rows["b", FROZEN]["versions"] == 0 and rows["b", FROZEN]["accepted"] == 0
    assert rows["b", GATED]["false_alarm_rate"] < 0.35
    assert [one["infant_id"] for one in metrics["unusable"]] == ["short"]
    assert metrics["means"]["test"][GATED]["false_alarm_rate"]["infants"] == 2


def test_what_was_withdrawn_is_not_accepted(folder):
    table = read_table(folder / "out" / TABLE, FOLLOWED)
    late = table[table["remark"].notna()]
    first = late[late["infant_id"] == "a"].iloc[0]
    # It came before there was evidence: the gate could not know.
    assert not first["accepted"] and first["reason"].startswith("held")


def test_two_runs_give_equal_bytes(folder):
    run_in(folder, "again")
    for name in (TABLE, BANDS_TABLE, METRICS):
        assert (folder / "out" / name).read_bytes() == (folder / "again" / name).read_bytes()


def test_the_report_has_a_line_a_part_and_way(folder):
    (table,) = follow_tables(folder / "out")
    assert [row[0] for row in table.rows] == ["test"] * 3 + ["val"] * 3
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_gate_of_another_network_is_refused(folder, tmp_path):
    gates.save(tmp_path / "gate", BaselineGate(None, None, 0.02), {"digest": "other"})
    with pytest.raises(ModelError, match="another network"):
        follow_infants(
            folder / "store",
            tmp_path / "gate",
            CONFIG,
            conformal(),
            DIVISION,
            models_config(),
            1,
            tmp_path / "out",
        )


def test_without_usable_infants_the_tables_are_empty(folder):
    frame = recordings_table({"only": 2}, {"only": "test"})
    write_store(folder / "one" / "store", frame)
    gates.save(folder / "one" / "gate", BaselineGate(None, None, 0.02), {"digest": "d" * 64})
    summary = run_in(folder / "one", "out")
    assert summary.rows == () and len(summary.unusable) == 1
    assert isinstance(read_table(folder / "one" / "out" / TABLE, FOLLOWED), pd.DataFrame)


def test_an_infant_without_times_or_sessions_is_named_and_leaves_the_others(folder):
    frame = recordings_table(
        {"a": COUNT, "no times": 12, "no sessions": 12},
        dict.fromkeys(("a", "no times", "no sessions"), "test"),
    )
    frame.loc[frame["infant_id"] == "no times", "recorded_at"] = pd.NaT
    frame.loc[frame["infant_id"] == "no sessions", "session_id"] = None
    write_store(folder / "unknown" / "store", frame)
    gates.save(folder / "unknown" / "gate", BaselineGate(None, None, 0.02), {"digest": "d" * 64})
    summary = run_in(folder / "unknown", "out")
    assert [one.infant_id for one in summary.unusable] == ["no sessions", "no times"]
    assert {row.infant_id for row in summary.rows} == {"a"}


def test_parts_must_be_parts():
    with pytest.raises(ConfigError, match="dev"):
        replace(CONFIG, parts=["dev"])


def test_an_estimate_by_hand():
    found = Estimate.of([0.1, None, 0.3])
    assert (found.mean, found.infants) == (pytest.approx(0.2), 2)
    assert found.high - found.mean == pytest.approx(12.706 * 0.1, rel=1e-3)
    assert Estimate.of([0.1, 0.3], share=True).low == 0
    assert Estimate.of([0.4]) == Estimate(0.4, None, None, 1)
    assert Estimate.of([None]) is None
