"""Stage ``evaluate_detection``: every model on every second, and the metrics that come from it.

A metric is named by model, scope (what it was measured on), unit (second or clip) and part. Scopes:
``pooled`` (canonical clips of all corpora), each corpus by itself (its own clips, duplicates
included), ``untrimmed``, a corpus' cries against the other sounds of another where it has none of
its own, and ``<corpus>, left out``: all clips of a corpus for a model that never saw it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.atomic import atomic_dir, write_json
from crywatch.features import FeatureStore
from crywatch.intervals import Intervals, group_bootstrap
from crywatch.metrics import BinaryMetrics, binary_metrics, precision_recall, roc
from crywatch.mine import cry_seconds
from crywatch.scoring import ClipScores, anomaly_scores, blazenet_scores
from crywatch.segments import RATE_HZ, n_segments, segments_to_seconds
from crywatch.tables import read_table, write_table
from crywatch.threads import one_thread

HEADLINE = ("auc", "average_precision", "f1_max", "accuracy")
CURVE_MODELS = ("blazenet/all_1s", "rtfm/trimmed", "rtfm/untrimmed")  # Table 6 and Figure 3
CURVE_POINTS = 200
LEFT_OUT = "left out"


@dataclass(frozen=True)
class EvaluateDetectionConfig:
    """Section ``evaluate_detection``."""

    threshold: float  # of the accuracies in Tables 3 to 5


@dataclass(frozen=True)
class ModelRef:
    """A model to evaluate."""

    name: str  # family/variant
    folder: Path
    features: Path
    segment_s: float
    leave_out: str  # corpus never trained on, or ""

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Row:
    """Metrics of one model on one scope."""

    model: str
    scope: str
    unit: str  # second, clip
    part: str  # val, test, all
    metrics: BinaryMetrics
    intervals: Intervals

    def as_dict(self) -> dict:
        """Flat."""
        head = {"model": self.model, "scope": self.scope, "unit": self.unit, "part": self.part}
        return head | self.metrics.as_dict() | self.intervals.as_dict()


@dataclass(frozen=True)
class EvaluationSummary:
    """All rows, and the scores behind them."""

    rows: list[Row]
    seconds: pd.DataFrame  # one row a second and model, with label and clip

    def headline(self) -> dict[str, float]:
        """Two dozen numbers for the parent run, ``family/variant/metric``."""
        return {
            f"{model}/{name}": value
            for model, values in headlines(self.rows).items()
            for name, value in values.items()
        }


@one_thread()
def run(
    models: list[ModelRef],
    split_clips: Path,
    untrimmed_clips: Path,
    untrimmed_events: Path,
    config: EvaluateDetectionConfig,
    out_dir: Path,
) -> EvaluationSummary:
    """Score and measure; writes scores, tables.json, metrics.json, roc.csv and pr.csv."""
    clips = pd.concat(
        [read_table(split_clips, "split_clips"), read_table(untrimmed_clips, "split_clips")],
        ignore_index=True,
    )
    clips = clips[clips["label"].isin(["cry", "other"])]
    events = read_table(untrimmed_events, "events")
    frames = [score(model, clips, events) for model in models]
    seconds = pd.concat(frames, ignore_index=True)
    rows = [
        row
        for model, frame in zip(models, frames, strict=True)
        for row in measure(model, frame, clips, config.threshold)
    ]
    summary = EvaluationSummary(rows, seconds)
    with atomic_dir(out_dir) as temp:
        columns = ["model", "clip_id", "start_s", "end_s", "score"]
        write_table(seconds[columns], temp / "scores.parquet", "scores")
        write_json(temp / "tables.json", [row.as_dict() for row in rows])
        write_json(temp / "metrics.json", headlines(rows))
        curves = list(_curves(summary, clips))
        for name, x, y in (("roc", "fpr", "tpr"), ("pr", "recall", "precision")):
            empty = pd.DataFrame(columns=["model", x, y])
            found = [frame for kind, frame in curves if kind == name]
            table = pd.concat(found) if found else empty
            table[["model", x, y]].to_csv(temp / f"{name}.csv", index=False, lineterminator="\n")
    return summary


def score(model: ModelRef, clips: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Seconds of one model: clip_id, start_s, end_s, score, is_cry."""
    # What was trained on is not measured on.
    wanted = clips[(clips["split"] != "train") | (clips["corpus"] == model.leave_out)]
    store = FeatureStore(model.features)
    ids = wanted["clip_id"].tolist()
    scorer = blazenet_scores if model.family == "blazenet" else anomaly_scores
    durations = dict(zip(wanted["clip_id"], wanted["duration_s"], strict=True))
    labels = dict(zip(wanted["clip_id"], wanted["label"], strict=True))
    by_clip = dict(tuple(events.groupby("clip_id")))
    none = events.iloc[:0]
    parts = []
    for found in scorer(model.folder, store, ids):
        scores = _per_second(found, model.segment_s, durations[found.clip_id])
        if found.clip_id.startswith("untrimmed/"):
            truth = cry_seconds(by_clip.get(found.clip_id, none), len(scores))
        else:
            truth = np.full(len(scores), labels[found.clip_id] == "cry")
        starts = np.arange(len(scores), dtype=float)
        columns = {"clip_id": found.clip_id, "start_s": starts, "end_s": starts + 1}
        parts.append(pd.DataFrame(columns | {"score": scores, "is_cry": truth}))
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(0, "model", model.name)
    return frame


def _per_second(found: ClipScores, segment_s: float, duration_s: float) -> np.ndarray:
    if segment_s == 1.0:
        return found.scores
    count = n_segments(round(duration_s * RATE_HZ))
    return segments_to_seconds(found.scores, segment_s, count)


def measure(
    model: ModelRef, seconds: pd.DataFrame, clips: pd.DataFrame, threshold: float
) -> Iterator[Row]:
    """Rows of one model over parts, scopes and units."""
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id"]
    seconds = seconds.merge(clips[columns], on="clip_id", how="left", validate="many_to_one")
    for part in ("val", "test"):
        here = seconds[seconds["split"] == part]
        for scope, frame in scopes(here):
            yield from _units(model.name, scope, part, frame, threshold)
    if model.leave_out:
        left = seconds[seconds["corpus"] == model.leave_out]
        scope = f"{model.leave_out}, {LEFT_OUT}"
        if left["is_cry"].nunique() == 1 and left["is_cry"].iloc[0]:
            # A corpus of cries alone: against the others' other sounds, of the test part.
            others = seconds[~seconds["is_cry"] & (seconds["split"] == "test")]
            others = others[others["canonical"] & (others["corpus"] != "untrimmed")]
            left = pd.concat([left, others])
            scope += ", against test others"
        yield from _units(model.name, scope, "all", left, threshold)


def scopes(seconds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and seconds of each scope within one part."""
    trimmed = seconds[seconds["corpus"] != "untrimmed"]
    yield "pooled", trimmed[trimmed["canonical"]]
    others = {}
    for corpus, frame in trimmed.groupby("corpus"):
        if frame["is_cry"].nunique() == 2:
            yield str(corpus), frame
        if (~frame["is_cry"]).any():
            others[corpus] = frame[~frame["is_cry"]]
    for corpus, frame in trimmed.groupby("corpus"):
        if corpus not in others:
            for other, negatives in others.items():
                yield f"{corpus} cries, {other} others", pd.concat([frame, negatives])
    untrimmed = seconds[seconds["corpus"] == "untrimmed"]
    if len(untrimmed):
        yield "untrimmed", untrimmed


def _units(
    model: str, scope: str, part: str, seconds: pd.DataFrame, threshold: float
) -> Iterator[Row]:
    if seconds.empty:
        return
    by_clip = seconds.groupby("clip_id", sort=False).agg(
        score=("score", "max"), label=("label", "first"), group_id=("group_id", "first")
    )
    # Not the highest of its seconds: a cry of less than half a second fills none of them.
    by_clip["is_cry"] = by_clip["label"] == "cry"
    for unit, frame in (("second", seconds), ("clip", by_clip)):
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        metrics = binary_metrics(labels, scores, threshold)
        # Nothing is reported of the validation part that would need them.
        intervals = (
            Intervals() if part == "val" else group_bootstrap(labels, scores, frame["group_id"])
        )
        yield Row(model, scope, unit, part, metrics, intervals)


def headlines(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For `dvc metrics` and `dvc exp show`: a few numbers per second of the main models."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.unit != "second" or row.part == "val":
            continue
        mine = found.setdefault(row.model, {})
        values = row.metrics.as_dict()
        if row.part == "all":
            mine["auc_left_out"] = values["auc"]
        elif row.model in CURVE_MODELS and row.scope == "pooled":
            mine |= {name: values[name] for name in HEADLINE}
        elif row.model in CURVE_MODELS and "," not in row.scope:
            mine[f"auc_{row.scope}"] = values["auc"]
    rounded = {
        model: {name: round(value, 6) for name, value in values.items() if value is not None}
        for model, values in found.items()
    }
    return {model: values for model, values in rounded.items() if values}


def _curves(summary: EvaluationSummary, clips: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    test = clips[(clips["split"] == "test") & clips["canonical"] & (clips["corpus"] != "untrimmed")]
    seconds = summary.seconds[summary.seconds["clip_id"].isin(set(test["clip_id"]))]
    for name in CURVE_MODELS:
        frame = seconds[seconds["model"] == name]
        if frame["is_cry"].nunique() < 2:
            continue
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        curve = roc(labels, scores)
        keep = _thinned(len(curve.x))
        columns = {"model": name, "fpr": curve.x[keep], "tpr": curve.y[keep]}
        yield "roc", pd.DataFrame(columns)
        curve = precision_recall(labels, scores)
        keep = _thinned(len(curve.x))
        columns = {"model": name, "recall": curve.x[keep], "precision": curve.y[keep]}
        yield "pr", pd.DataFrame(columns)


def _thinned(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
