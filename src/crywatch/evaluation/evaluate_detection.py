"""Stage ``evaluate_detection``: every model on every second, and the metrics that come from it.

A metric is named by model, scope (what it was measured on), unit (second or clip) and part. Scopes:
``pooled`` (canonical clips of all corpora), each corpus by itself (its own clips, duplicates
included), ``untrimmed``, a corpus' cries against the other sounds of another where it has none of
its own, and ``<corpus>, left out``: all clips of a corpus for a model that never saw it.

A second of a strongly labelled clip is a cry if half of it is; of a weakly labelled one it is what
the clip is. Event-level metrics, in `evaluate_events`, are of strongly labelled clips alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ, n_segments, segments_to_seconds
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.threads import one_thread
from crywatch.data.selection import MADE, Source, sounds, strong_labels
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import SCORES
from crywatch.data.truth import Truth
from crywatch.evaluation.evaluate_events import CHOSEN, EventRow, measure_events
from crywatch.evaluation.scoring import ClipScores, ModelRef, clip_scores
from crywatch.metrics.curves import BinaryMetrics, binary_metrics, precision_recall, roc
from crywatch.metrics.intervals import Intervals, group_bootstrap

HEADLINE = ("auc", "average_precision", "f1_max", "accuracy")
EVENT_HEADLINE = ("event_f1", "psds1", "false_alarms_per_hour", "latency_s")
CURVE_MODELS = ("blazenet/all_1s", "rtfm/trimmed", "rtfm/untrimmed")  # Table 6 and Figure 3
MAIN_MODELS = (*CURVE_MODELS, "robust/robust", "rtfm/robust")  # with headline numbers
CURVE_POINTS = 200
LEFT_OUT = "left out"


@dataclass(frozen=True)
class EvaluateDetectionConfig:
    """Section ``evaluate_detection``."""

    threshold: float  # of the accuracies in Tables 3 to 5
    robust: list[str]  # variants of train_robust that are measured


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
    events: list[EventRow]
    seconds: pd.DataFrame  # one row a second and model, with label and clip

    def headline(self) -> dict[str, float]:
        """Two dozen numbers for the parent run, ``family/variant/metric``."""
        return {
            f"{model}/{name}": value
            for model, values in headlines(self.rows, self.events).items()
            for name, value in values.items()
        }


@one_thread()
def run(
    models: list[ModelRef],
    sources: Sequence[Source],
    config: EvaluateDetectionConfig,
    out_dir: Path,
) -> EvaluationSummary:
    """Score and measure; writes scores, tables.json, events.json, metrics.json and the curves."""
    clips = sounds(source.clips for source in sources)
    truth = Truth(clips, strong_labels(source.events for source in sources))
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id", "duration_s"]
    frames, rows, events = [], [], []
    for model in models:
        frames.append(score(model, clips, truth))
        known = frames[-1].merge(clips[columns], on="clip_id", how="left", validate="many_to_one")
        rows += measure(model, known, config.threshold)
        events += measure_events(model, known, truth, config.threshold)
    seconds = pd.concat(frames, ignore_index=True)
    summary = EvaluationSummary(rows, events, seconds)
    with atomic_dir(out_dir) as temp:
        columns = ["model", "clip_id", "start_s", "end_s", "score"]
        write_table(seconds[columns], temp / "scores.parquet", SCORES)
        write_json(temp / "tables.json", [row.as_dict() for row in rows])
        write_json(temp / "events.json", [row.as_dict() for row in events])
        write_json(temp / "metrics.json", headlines(rows, events))
        curves = list(_curves(summary, clips))
        for name, x, y in (("roc", "fpr", "tpr"), ("pr", "recall", "precision")):
            empty = pd.DataFrame(columns=["model", x, y])
            found = [frame for kind, frame in curves if kind == name]
            table = pd.concat(found) if found else empty
            table[["model", x, y]].to_csv(temp / f"{name}.csv", index=False, lineterminator="\n")
    return summary


def score(model: ModelRef, clips: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Seconds of one model: clip_id, start_s, end_s, score, is_cry."""
    # What was trained on is not measured on.
    wanted = clips[(clips["split"] != "train") | (clips["corpus"] == model.leave_out)]
    paths = dict(zip(wanted["clip_id"], wanted["path"], strict=True))
    durations = dict(zip(wanted["clip_id"], wanted["duration_s"], strict=True))
    parts = []
    for found in clip_scores(model, paths):
        scores = _per_second(found, model.segment_s, durations[found.clip_id])
        is_cry = truth.segments(found.clip_id, len(scores))
        starts = np.arange(len(scores), dtype=float)
        columns = {"clip_id": found.clip_id, "start_s": starts, "end_s": starts + 1}
        parts.append(pd.DataFrame(columns | {"score": scores, "is_cry": is_cry}))
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(0, "model", model.name)
    return frame


def _per_second(found: ClipScores, segment_s: float, duration_s: float) -> np.ndarray:
    if segment_s == 1.0:
        return found.scores
    count = n_segments(round(duration_s * RATE_HZ))
    return segments_to_seconds(found.scores, segment_s, count)


def measure(model: ModelRef, seconds: pd.DataFrame, threshold: float) -> Iterator[Row]:
    """Rows of one model over parts, scopes and units; ``seconds`` know their clips."""
    for part in ("val", "test"):
        here = seconds[seconds["split"] == part]
        for scope, frame in scopes(here):
            yield from _units(model.name, scope, part, frame, threshold)
    if model.leave_out:
        scope, left = left_out(seconds, model.leave_out)
        yield from _units(model.name, scope, "all", left, threshold)


def left_out(seconds: pd.DataFrame, corpus: str) -> tuple[str, pd.DataFrame]:
    """Name and seconds of the scope of a corpus that a model never saw: all parts of it."""
    left = seconds[seconds["corpus"] == corpus]
    scope = f"{corpus}, {LEFT_OUT}"
    if len(left) and (left["label"] == "cry").all():
        # A corpus of cries alone: against the others' other sounds, of the test part.
        others = seconds[(seconds["label"] == "other") & (seconds["split"] == "test")]
        others = others[others["canonical"] & ~others["corpus"].isin(MADE)]
        left = pd.concat([left, others])
        scope += ", against test others"
    return scope, left


def scopes(seconds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and seconds of each scope within one part."""
    made = seconds["corpus"].isin(MADE)
    trimmed = seconds[~made]
    yield "pooled", trimmed[trimmed["canonical"]]
    others = {}
    for corpus, frame in trimmed.groupby("corpus"):
        is_other = frame["label"] == "other"  # a silent second of a cry is not of this kind
        if frame["is_cry"].nunique() == 2:
            yield str(corpus), frame
        if is_other.any():
            others[corpus] = frame[is_other]
    for corpus, frame in trimmed.groupby("corpus"):
        if corpus not in others:
            for other, negatives in others.items():
                yield f"{corpus} cries, {other} others", pd.concat([frame, negatives])
    for corpus, frame in seconds[made].groupby("corpus"):
        yield str(corpus), frame


def by_clip(seconds: pd.DataFrame) -> pd.DataFrame:
    """A row a clip: the highest score of its seconds, and whether the clip is a cry."""
    clips = seconds.groupby("clip_id", sort=False).agg(
        score=("score", "max"), label=("label", "first"), group_id=("group_id", "first")
    )
    # Not the highest of its seconds: a cry of less than half a second fills none of them.
    clips["is_cry"] = clips["label"] == "cry"
    return clips


def _units(
    model: str, scope: str, part: str, seconds: pd.DataFrame, threshold: float
) -> Iterator[Row]:
    if seconds.empty:
        return
    for unit, frame in (("second", seconds), ("clip", by_clip(seconds))):
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        metrics = binary_metrics(labels, scores, threshold)
        # Nothing is reported of the validation part that would need them.
        intervals = (
            Intervals() if part == "val" else group_bootstrap(labels, scores, frame["group_id"])
        )
        yield Row(model, scope, unit, part, metrics, intervals)


def headlines(rows: list[Row], events: list[EventRow]) -> dict[str, dict[str, float]]:
    """For `dvc metrics` and `dvc exp show`: a few numbers per second of the main models."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.unit != "second" or row.part == "val":
            continue
        mine = found.setdefault(row.model, {})
        values = row.metrics.as_dict()
        if row.part == "all":
            mine["auc_left_out"] = values["auc"]
        elif row.model in MAIN_MODELS and row.scope == "pooled":
            mine |= {name: values[name] for name in HEADLINE}
        elif row.model in MAIN_MODELS and "," not in row.scope:
            mine[f"auc_{row.scope}"] = values["auc"]
    for row in events:
        if row.model in MAIN_MODELS and row.threshold_from == CHOSEN and row.scope in MADE:
            values = row.metrics.as_dict()
            named = {f"{name}_{row.scope}": values[name] for name in EVENT_HEADLINE}
            found.setdefault(row.model, {}).update(named)
    rounded = {
        model: {name: round(value, 6) for name, value in values.items() if value is not None}
        for model, values in found.items()
    }
    return {model: values for model, values in rounded.items() if values}


def _curves(summary: EvaluationSummary, clips: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    test = clips[(clips["split"] == "test") & clips["canonical"] & ~clips["corpus"].isin(MADE)]
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
