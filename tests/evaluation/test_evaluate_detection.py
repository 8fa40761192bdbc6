"""Stage ``evaluate_detection``: who is scored on what, and that nothing trained on is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.decode import read_clean, write_flac
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.data.features import FeatureStore
from crywatch.data.selection import Source
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SCORES, SPLIT_CLIPS
from crywatch.detection.detectors import load_detector
from crywatch.evaluation.evaluate_detection import EvaluateDetectionConfig, run
from crywatch.evaluation.evaluate_detection.measures import CURVE_MODELS, HEADLINE, measure
from crywatch.evaluation.evaluate_detection.scoring import ModelRef, blazenet_scores, clip_scores
from crywatch.evaluation.scopes import scopes
from crywatch.metrics.curves import binary_metrics
from crywatch.metrics.intervals import Intervals
from crywatch.metrics.rows import flat
from tests.helpers.blazenet_cases import clip_rows, sound
from tests.helpers.evaluation_cases import World, duration_s, label, row, wave
from tests.helpers.robust_model_cases import write_robust

ROOT = Path(__file__).parents[2]
CONFIG = EvaluateDetectionConfig(threshold=0.5, robust=[])
LEFT_OUT = "blazenet/no_cries"
NAMES = ["blazenet/all_1s", "blazenet/all_5s", "rtfm/trimmed", "rtfm/untrimmed"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, one_thread) -> World:
    return World(tmp_path_factory.mktemp("world"))


def evaluate(world: World, models: list[ModelRef], out_dir: Path):
    return run(models, world.sources, CONFIG, out_dir)


@pytest.fixture(scope="module")
def evaluated(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "out"
    models = [world.model(name) for name in NAMES] + [world.model(LEFT_OUT, "cries")]
    return evaluate(world, models, out), out


def rows_of(summary, **wanted) -> list:
    return [r for r in summary.rows if all(getattr(r, k) == v for k, v in wanted.items())]


def n_seconds(clip_id: str) -> int:
    return n_segments(round(duration_s(clip_id) * RATE_HZ))


# Scores of stored features


def test_stored_features_give_the_scores_of_the_detector(world):
    ids = world.clip_ids[:6] + ["few/cry-long", "few/other-short", "untrimmed/cry-0"]
    for name in ("blazenet/all_1s", "rtfm/trimmed"):
        model = world.model(name)
        detector = load_detector(model.folder)
        found = list(clip_scores(model, dict.fromkeys(ids, "")))
        assert [clip.clip_id for clip in found] == ids
        for clip in found:
            expected = detector.score(wave(clip.clip_id))
            assert clip.scores.shape == expected.shape
            # Pictures are stored in half precision.
            assert np.allclose(clip.scores, expected, atol=2e-3), clip.clip_id


def test_a_model_without_stored_features_listens(tmp_path):
    folder = write_robust(tmp_path / "robust")
    write_flac(tmp_path / "a.flac", sound(4 * RATE_HZ))
    model = ModelRef("robust/robust", folder, None, 1.0, "")
    (found,) = clip_scores(model, {"a/1": str(tmp_path / "a.flac")})
    expected = load_detector(folder).score(read_clean(tmp_path / "a.flac"))
    assert found.clip_id == "a/1" and found.scores.shape == (4,)
    np.testing.assert_array_equal(found.scores, expected)


def test_batches_keep_clips_apart(world, monkeypatch):
    model = world.model("blazenet/all_1s")
    store = FeatureStore(model.features)
    whole = list(blazenet_scores(model.folder, store, world.clip_ids))
    monkeypatch.setattr("crywatch.evaluation.evaluate_detection.scoring.BATCH", 3)
    small = list(blazenet_scores(model.folder, store, world.clip_ids))
    assert [clip.clip_id for clip in small] == world.clip_ids
    for one, other in zip(whole, small, strict=True):
        assert one.clip_id == other.clip_id
        assert np.allclose(one.scores, other.scores, atol=1e-6)


def test_a_clip_without_features_is_named(world):
    model = world.model("blazenet/all_1s")
    with pytest.raises(TableError, match="'both/cry-gone' has no features"):
        list(blazenet_scores(model.folder, FeatureStore(model.features), ["both/cry-gone"]))


# The stage


def test_every_second_not_trained_on_is_scored(world, evaluated):
    _, out = evaluated
    scores = read_table(out / "scores.parquet", SCORES)
    clips = read_table(world.split_clips, SPLIT_CLIPS)
    unseen = set(clips.loc[(clips["split"] != "train") & (clips["label"] != "unknown"), "clip_id"])
    unseen |= {"untrimmed/cry-0", "untrimmed/other-0"}
    assert list(dict.fromkeys(scores["model"])) == [*NAMES, LEFT_OUT]
    assert scores["score"].between(0, 1).all()
    for name in NAMES:
        by_clip = scores[scores["model"] == name].groupby("clip_id")["start_s"].apply(list)
        assert set(by_clip.index) == unseen
        for clip_id, starts in by_clip.items():
            assert starts == list(range(n_seconds(clip_id))), (name, clip_id)


def test_seconds_of_the_five_second_front_end_have_the_score_of_their_segment(world, evaluated):
    summary, _ = evaluated
    seconds = summary.seconds[summary.seconds["model"] == "blazenet/all_5s"]
    detector = load_detector(world.model("blazenet/all_5s").folder)
    for clip_id in ("few/cry-long", "few/other-short", "both/cry-0"):
        found = seconds.loc[seconds["clip_id"] == clip_id, "score"]
        assert np.allclose(found, detector.score(wave(clip_id)), atol=2e-3)


def test_seconds_of_untrimmed_recordings_are_labelled_by_their_events(evaluated):
    summary, _ = evaluated
    seconds = summary.seconds[summary.seconds["model"] == NAMES[0]]
    by_clip = seconds.groupby("clip_id")["is_cry"].apply(list)
    # A cry from 0.6 to 2.4 s: 0.4 s of the first second, all of the second, 0.4 s of the third.
    assert by_clip["untrimmed/cry-0"] == [False, True, False, False]
    assert by_clip["untrimmed/other-0"] == [False] * 4
    assert by_clip["few/cry-long"] == [True] * 7
    # Strongly labelled: the cry ends at 0.9 s.
    assert by_clip["both/cry-2"] == [True, False]


@pytest.mark.parametrize("unit", ["second", "clip"])
def test_pooled_metrics_come_from_the_stored_scores(world, evaluated, unit):
    summary, out = evaluated
    scores = read_table(out / "scores.parquet", SCORES)
    clips = read_table(world.split_clips, SPLIT_CLIPS).set_index("clip_id")
    for name in NAMES:
        labels, values = [], []
        truth = summary.seconds.set_index(["model", "clip_id"])["is_cry"].sort_index()
        for clip_id, frame in scores[scores["model"] == name].groupby("clip_id"):
            if clip_id.startswith("untrimmed") or clips.loc[clip_id, "split"] != "test":
                continue
            if clips.loc[clip_id, "canonical"]:
                kept = frame["score"].tolist() if unit == "second" else [frame["score"].max()]
                values += kept
                is_cry = truth.loc[[(name, clip_id)]].tolist()
                labels += is_cry if unit == "second" else [label(clip_id) == "cry"]
        (found,) = rows_of(summary, model=name, scope="pooled", unit=unit, part="test")
        expected = binary_metrics(np.array(labels), np.array(values), 0.5)
        assert flat(found.metrics) == pytest.approx(flat(expected))


def test_files(evaluated):
    summary, out = evaluated
    files = {"scores.parquet", "tables.json", "events.json", "metrics.json", "roc.csv", "pr.csv"}
    assert {path.name for path in out.iterdir()} == files | {"measured.parquet", "charts"}
    assert read_json(out / "tables.json") == [flat(r) for r in summary.rows]
    short = read_json(out / "metrics.json")
    assert set(short) == {*CURVE_MODELS, LEFT_OUT}
    for model in CURVE_MODELS:
        (pooled,) = rows_of(summary, model=model, scope="pooled", unit="second", part="test")
        for name in HEADLINE:
            expected = flat(pooled.metrics)[name]
            assert short[model][name] == pytest.approx(expected, abs=1e-6)
    (left,) = rows_of(summary, model=LEFT_OUT, unit="second", part="all")
    assert short[LEFT_OUT] == {"auc_left_out": pytest.approx(left.metrics.auc, abs=1e-6)}


def test_intervals_hold_the_number_and_are_of_what_is_reported(evaluated):
    summary, _ = evaluated
    assert all(row.intervals == Intervals() for row in rows_of(summary, part="val"))
    found = [one for one in summary.rows if one.intervals.auc_low is not None]
    assert found
    for one in found:
        assert one.intervals.auc_low <= one.metrics.auc <= one.intervals.auc_high


def test_curves_are_those_of_figure_3(evaluated):
    summary, out = evaluated
    roc, pr = pd.read_csv(out / "roc.csv"), pd.read_csv(out / "pr.csv")
    assert list(roc.columns) == ["model", "fpr", "tpr"]
    assert list(pr.columns) == ["model", "recall", "precision"]
    assert set(roc["model"]) == set(pr["model"]) == set(CURVE_MODELS)
    for name, frame in roc.groupby("model"):
        (found,) = rows_of(summary, model=name, scope="pooled", unit="second", part="test")
        assert np.trapezoid(frame["tpr"], frame["fpr"]) == pytest.approx(found.metrics.auc)


def test_headline_is_that_of_the_metrics_file(evaluated):
    summary, out = evaluated
    assert summary.headline() == {
        f"{model}/{name}": value
        for model, values in read_json(out / "metrics.json").items()
        for name, value in values.items()
    }
    assert len(summary.headline()) < 40


def test_the_same_inputs_give_the_same_bytes(world, tmp_path):
    models = [world.model("rtfm/trimmed")]
    for name in ("one", "two"):
        evaluate(world, models, tmp_path / name)
    for path in [path for path in (tmp_path / "one").rglob("*") if path.is_file()]:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_without_the_models_of_figure_3_the_curves_are_empty(world, tmp_path):
    evaluate(world, [world.model("blazenet/all_5s")], tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "roc.csv").columns.tolist() == ["model", "fpr", "tpr"]
    assert pd.read_csv(tmp_path / "out" / "pr.csv").empty


def test_a_clip_that_no_stage_made_features_of_is_not_left_out_in_silence(world, tmp_path):
    clips = pd.concat(
        [read_table(world.split_clips, SPLIT_CLIPS), clip_rows([row("both/cry-gone", "test")])]
    )
    clips.to_parquet(tmp_path / "clips.parquet")
    sources = [Source(tmp_path / "clips.parquet", world.split_events), *world.sources[1:]]
    with pytest.raises(TableError, match="both/cry-gone"):
        run([world.model("rtfm/trimmed")], sources, CONFIG, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Scopes


def seconds_of(rows: list[dict], score: float = 0.3) -> pd.DataFrame:
    """Seconds for `measure`; every clip has two seconds, a cry's second one is higher."""
    clips = clip_rows(rows)
    parts = []
    for clip in clips.itertuples():
        cry = clip.label == "cry"
        columns = {"model": "m", "clip_id": clip.clip_id, "start_s": [0.0, 1.0]}
        columns |= {"end_s": [1.0, 2.0], "score": [score, 0.9 if cry else 0.2], "is_cry": cry}
        parts.append(pd.DataFrame(columns))
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id"]
    return pd.concat(parts, ignore_index=True).merge(clips[columns], on="clip_id")


def clips_in(frame: pd.DataFrame) -> set[str]:
    return set(frame["clip_id"])


def test_scopes():
    rows = [row(c, "test") for c in ("a/cry-0", "a/other-0", "b/other-0", "c/cry-0")]
    rows += [row("a/cry-1", "test", canonical=False), row("b/other-1", "test", canonical=False)]
    rows += [row("untrimmed/cry-0", "test"), row("soundscapes/cry-0", "test")]
    found = {name: clips_in(frame) for name, frame in scopes(seconds_of(rows))}
    assert found == {
        "pooled": {"a/cry-0", "a/other-0", "b/other-0", "c/cry-0"},
        # A corpus by itself has its duplicates.
        "a": {"a/cry-0", "a/other-0", "a/cry-1"},
        # Cries alone: against the others of each corpus that has some.
        "c cries, a others": {"c/cry-0", "a/other-0"},
        "c cries, b others": {"c/cry-0", "b/other-0", "b/other-1"},
        "untrimmed": {"untrimmed/cry-0"},
        "soundscapes": {"soundscapes/cry-0"},
    }


def metrics_of(rows: list[dict], leave_out: str = "") -> dict[tuple[str, str, str], object]:
    model = ModelRef("blazenet/m", Path("m"), Path("f"), 1.0, leave_out)
    found = list(measure(model, seconds_of(rows), 0.5))
    assert {r.model for r in found} == {"blazenet/m"}
    return {(r.scope, r.unit, r.part): r.metrics for r in found}


WORLD = [f"{corpus}/{kind}-{n}" for corpus in "ab" for kind in ("cry", "other") for n in range(3)]
PARTED = [row(clip_id, ("train", "val", "test")[int(clip_id[-1])]) for clip_id in WORLD]


def test_nothing_trained_on_is_measured():
    found = metrics_of(PARTED)
    assert {key[2] for key in found} == {"val", "test"}
    assert {key[0] for key in found} == {"pooled", "a", "b"}
    for (scope, unit, _), metrics in found.items():
        clips = 4 if scope == "pooled" else 2
        assert metrics.n == (clips if unit == "clip" else 2 * clips)


def test_a_clip_has_the_score_of_its_highest_second():
    metrics = metrics_of(PARTED)[("pooled", "clip", "test")]
    assert (metrics.accuracy, metrics.f1_threshold, metrics.auc) == (1.0, 0.9, 1.0)
    by_second = metrics_of(PARTED)[("pooled", "second", "test")]
    assert by_second.recall == 0.5


def test_a_recording_whose_cry_fills_no_second_is_a_cry_clip():
    rows = [*PARTED, row("untrimmed/cry-0", "test"), row("untrimmed/other-0", "test")]
    seconds = seconds_of(rows)
    seconds.loc[seconds["clip_id"] == "untrimmed/cry-0", "is_cry"] = False
    model = ModelRef("blazenet/m", Path("m"), Path("f"), 1.0, "")
    found = [r for r in measure(model, seconds, 0.5) if r.scope == "untrimmed"]
    assert {r.unit: (r.metrics.n, r.metrics.n_cry) for r in found} == {
        "second": (4, 0),
        "clip": (2, 1),
    }


def test_a_corpus_left_out_is_measured_whole():
    found = metrics_of(PARTED, leave_out="b")
    left = {key: metrics for key, metrics in found.items() if key[2] == "all"}
    assert set(left) == {("b, left out", "second", "all"), ("b, left out", "clip", "all")}
    clip = left[("b, left out", "clip", "all")]
    assert (clip.n, clip.n_cry) == (6, 3)  # of all parts, of corpus b alone
    assert found[("a", "clip", "test")].n == 2  # of the others, no clip of their training part


def test_cries_left_out_are_measured_against_the_test_part_of_the_others():
    rows = [*PARTED, row("c/cry-0", "train"), row("c/cry-1", "val"), row("c/cry-2", "test")]
    rows += [row("a/other-9", "test", canonical=False), row("untrimmed/other-0", "test")]
    found = metrics_of(rows, leave_out="c")
    metrics = found[("c, left out, against test others", "clip", "all")]
    assert (metrics.n, metrics.n_cry) == (5, 3)  # a/other-2 and b/other-2


def test_a_left_out_model_scores_its_corpus_whole_and_is_reported(world, evaluated):
    summary, _ = evaluated
    found = rows_of(summary, model=LEFT_OUT, part="all", unit="clip")
    assert [r.scope for r in found] == ["cries, left out, against test others"]
    assert found[0].metrics.n_cry == 3  # one of each part
    assert not rows_of(summary, model=NAMES[0], part="all")


def test_leaving_out_does_not_change_what_the_parts_are_measured_on(world, tmp_path, evaluated):
    summary, _ = evaluated
    for part in ("val", "test"):
        rows = rows_of(summary, model="blazenet/all_1s", part=part)
        same = rows_of(summary, model=LEFT_OUT, part=part)
        assert [replace(r, model=LEFT_OUT) for r in rows] == same


# The tree


def test_models_of_figure_3_are_trained():
    config = params.compose(["profile=paper"], ROOT / "conf")
    names = {f"{f}/{name}" for f in ("blazenet", "rtfm") for name in config[f"train_{f}"].variants}
    assert set(CURVE_MODELS) <= names
