"""What is reported of every measured second, and what it is called in the tracking store."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.core.errors import TableError
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate.detection.seconds import (
    decided_intervals,
    ends_of,
    metric_name,
    named_metrics,
    places,
    thresholds,
)
from crywatch.metrics.curves import binary_metrics, max_f1
from tests.helpers.compare_cases import THRESHOLD, clips, measured_table, seconds, summary

TABLE_OF_CLIPS = clips()
SECONDS = seconds(TABLE_OF_CLIPS, {"robust/robust": 1.0})
LEFT = seconds(TABLE_OF_CLIPS, {"blazenet/no_b": 1.0}, leave_out="b")


def test_the_table_needs_nothing_beside_it(tmp_path):
    found = measured_table(SECONDS, TABLE_OF_CLIPS)
    write_table(found, tmp_path / "measured.parquet", MEASURED)
    again = read_table(tmp_path / "measured.parquet", MEASURED)
    assert list(again.columns) == list(MEASURED.columns)
    assert len(again) == len(SECONDS) and (again["score"] == SECONDS["score"]).all()
    digests = dict(zip(TABLE_OF_CLIPS["clip_id"], TABLE_OF_CLIPS["sha256"], strict=True))
    assert (again["sha256"] == again["clip_id"].map(digests)).all()


def test_tables_of_runs_that_knew_no_weak_clips_are_read(tmp_path):
    measured_table(SECONDS, TABLE_OF_CLIPS).drop(columns="unknown").to_parquet(tmp_path / "old")
    assert not read_table(tmp_path / "old", MEASURED)["unknown"].any()


def test_a_clip_that_the_table_of_clips_lacks_is_no_row(tmp_path):
    found = measured_table(SECONDS, TABLE_OF_CLIPS[TABLE_OF_CLIPS["corpus"] == "a"])
    with pytest.raises(TableError):
        write_table(found, tmp_path / "measured.parquet", MEASURED)


def test_places_are_what_the_stage_measures():
    told = summary(TABLE_OF_CLIPS, LEFT, "b")
    found = list(places(measured_table(LEFT, TABLE_OF_CLIPS)))
    expected = [row for row in told.rows if row.part != "val"]
    assert [(p.scope, p.unit) for p in found] == [(r.scope, r.unit) for r in expected]
    assert ("b, left out", "clip") in [(p.scope, p.unit) for p in found]
    for place, row in zip(found, expected, strict=True):
        labels, scores = place.rows["is_cry"].to_numpy(), place.rows["score"].to_numpy()
        assert binary_metrics(labels, scores, THRESHOLD) == row.metrics
        assert {"sha256", "corpus", "group_id"} <= set(place.rows.columns)


def test_nothing_is_left_out_for_a_model_that_was_trained_on_all():
    scopes = {place.scope for place in places(measured_table(SECONDS, TABLE_OF_CLIPS))}
    assert scopes == {"pooled", "a", "b"}


def test_thresholds_are_chosen_on_the_validation_part_alone():
    found = measured_table(SECONDS, TABLE_OF_CLIPS)
    val = found[found["split"] == "val"]
    expected = max_f1(val["is_cry"].to_numpy(), val["score"].to_numpy()).threshold
    changed = found.copy()
    changed.loc[changed["split"] == "test", "score"] = 0.123
    assert thresholds(found) == thresholds(changed) == {"robust/robust": expected}
    assert thresholds(found[~((found["split"] == "val") & found["is_cry"])]) == {}


@pytest.mark.parametrize(
    ("scope", "unit", "name"),
    [
        ("pooled", "second", "m/auc"),
        ("pooled", "clip", "m/auc_clip_pooled"),
        ("esc50", "second", "m/auc_esc50"),
        ("donateacry cries, esc50 others", "clip", "m/auc_clip_donateacry_cries_esc50_others"),
        ("esc50, left out", "second", "m/auc_left_out"),
        ("b, left out, against test others", "clip", "m/auc_clip_left_out"),
    ],
)
def test_names_in_the_tracking_store(scope, unit, name):
    assert metric_name("m", scope, unit, "auc") == name


def flat(told) -> dict[str, float]:
    """The headline by ``<model>/<metric>``."""
    return {f"{model}/{k}": v for model, mine in told.headlines.items() for k, v in mine.items()}


def test_numbers_are_logged_with_their_intervals_and_as_in_the_headline():
    told = summary(TABLE_OF_CLIPS, SECONDS)
    found = named_metrics(told.rows, ["robust/robust"])
    headline = flat(told)
    same = headline.keys() & found.keys()
    assert {"robust/robust/auc", "robust/robust/average_precision", "robust/robust/auc_a"} <= same
    assert {name: found[name] for name in same} == {name: headline[name] for name in same}
    for name in [name for name in found if not name.endswith(("_low", "_high"))]:
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert found["robust/robust/auc_low"] < found["robust/robust/auc_high"]
    assert named_metrics(told.rows, []) == {}


def test_of_other_models_the_corpus_left_out_is_logged():
    found = named_metrics(summary(TABLE_OF_CLIPS, LEFT, "b").rows, [])
    names = {name.removesuffix("_low").removesuffix("_high") for name in found}
    assert names == {
        f"blazenet/no_b/{metric}{unit}_left_out"
        for metric in ("auc", "average_precision")
        for unit in ("", "_clip")
    }


def test_the_other_numbers_of_the_headline_have_intervals_too():
    told = summary(TABLE_OF_CLIPS, SECONDS)
    frame = measured_table(SECONDS, TABLE_OF_CLIPS)
    found = decided_intervals(frame, ["robust/robust", "gone"], THRESHOLD)
    headline = flat(told)
    assert set(found) == {
        f"robust/robust/{name}_{end}" for name in ("f1_max", "accuracy") for end in ("low", "high")
    }
    for name in ("f1_max", "accuracy"):
        low, high = (found[f"robust/robust/{name}_{end}"] for end in ("low", "high"))
        assert low < headline[f"robust/robust/{name}"] < high
        assert high - low < 0.5


def test_too_few_recordings_give_no_interval():
    table = clips(groups=1, corpora=("a",))
    frame = measured_table(seconds(table, {"m/m": 1.0}), table)
    assert decided_intervals(frame, ["m/m"], THRESHOLD) == {}


def test_whole_recordings_are_drawn():
    """The interval is of the recordings: copies of their seconds make it no narrower."""
    frame = measured_table(SECONDS, TABLE_OF_CLIPS)
    once = decided_intervals(frame, ["robust/robust"], THRESHOLD)
    twice = decided_intervals(frame.loc[np.repeat(frame.index, 2)], ["robust/robust"], THRESHOLD)
    assert twice == pytest.approx(once, abs=1e-6)


def test_ends_are_those_of_the_named_numbers_alone():
    metrics = ["m/auc", "m/auc_low", "m/auc_high", "m/auc_esc50", "m/auc_esc50_low", "m/f1_low"]
    assert ends_of(["m/auc"], metrics) == {"m/auc_low", "m/auc_high"}
