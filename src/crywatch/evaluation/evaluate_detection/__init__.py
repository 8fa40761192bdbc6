"""Stage ``evaluate_detection``: every model on every second, and the metrics that come from it.

A metric is named by model, scope (what it was measured on, see `crywatch.evaluation.scopes`), unit
(second or clip) and part. A second of a strongly labelled clip is a cry if half of it is; of a
weakly labelled one it is what the clip is. Event-level metrics (`events`) are of strongly labelled
clips alone; `charts` is what people look at, and `seconds` what a comparison of runs reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ, n_segments, segments_to_seconds
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, sounds, strong_labels
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import SCORES
from crywatch.data.truth import Truth
from crywatch.evaluation.evaluate_detection import charts
from crywatch.evaluation.evaluate_detection.events import EventRow, measure_events
from crywatch.evaluation.evaluate_detection.measures import DetectionRow, headlines, measure
from crywatch.evaluation.evaluate_detection.scoring import ModelRef, clip_scores
from crywatch.metrics.rows import flat


@dataclass(frozen=True)
class EvaluateDetectionConfig:
    """Section ``evaluate_detection``."""

    threshold: float  # of the accuracies in Tables 3 to 5
    robust: list[str]  # variants of train_robust that are measured


@dataclass(frozen=True)
class EvaluationSummary:
    """All rows, and the scores behind them."""

    rows: list[DetectionRow]
    events: list[EventRow]
    seconds: pd.DataFrame  # one row a second and model, with label and clip
    metrics: dict[str, float]  # with intervals, by their names in the tracking store

    def headline(self) -> dict[str, float]:
        """Two dozen numbers for the parent run, ``family/variant/metric``."""
        return {
            f"{model}/{name}": value
            for model, values in headlines(self.rows, self.events).items()
            for name, value in values.items()
        }


def run(
    models: list[ModelRef],
    sources: Sequence[Source],
    config: EvaluateDetectionConfig,
    out_dir: Path,
) -> EvaluationSummary:
    """Score and measure; writes scores, tables and charts: all of it or nothing.

    scores.parquet, tables.json, events.json, metrics.json, the curves roc.csv and pr.csv, the table
    "measured" and the folder of charts.
    """
    clips = sounds(source.clips for source in sources)
    truth = Truth(clips, strong_labels(source.events for source in sources))
    with atomic_dir(out_dir) as temp:
        seconds, rows, events = evaluate(models, clips, truth, config.threshold)
        columns = ["model", "clip_id", "start_s", "end_s", "score"]
        write_table(seconds[columns], temp / "scores.parquet", SCORES)
        write_json(temp / "tables.json", [flat(row) for row in rows])
        write_json(temp / "events.json", [flat(row) for row in events])
        write_json(temp / "metrics.json", headlines(rows, events))
        metrics = charts.write(rows, seconds, clips, config.threshold, temp)
    return EvaluationSummary(rows, events, seconds, metrics)


@one_thread()
def evaluate(
    models: Sequence[ModelRef], clips: pd.DataFrame, truth: Truth, threshold: float
) -> tuple[pd.DataFrame, list[DetectionRow], list[EventRow]]:
    """Seconds of all models with their scores, and what is measured on them."""
    columns = ["clip_id", "corpus", "split", "canonical", "label", "group_id", "duration_s"]
    frames: list[pd.DataFrame] = []
    rows: list[DetectionRow] = []
    events: list[EventRow] = []
    for model in models:
        frames.append(score(model, clips, truth))
        known = frames[-1].merge(clips[columns], on="clip_id", how="left", validate="many_to_one")
        rows += measure(model, known, threshold)
        events += measure_events(model, known, truth, threshold)
    return pd.concat(frames, ignore_index=True), rows, events


def score(model: ModelRef, clips: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Seconds of one model: model, clip_id, start_s, end_s, score, is_cry."""
    # What was trained on is not measured on.
    wanted = clips[(clips["split"] != "train") | (clips["corpus"] == model.leave_out)]
    paths = dict(zip(wanted["clip_id"], wanted["path"], strict=True))
    durations = dict(zip(wanted["clip_id"], wanted["duration_s"], strict=True))
    parts = []
    for clip in clip_scores(model, paths):
        scores = clip.scores
        if model.segment_s != 1.0:
            count = n_segments(round(durations[clip.clip_id] * RATE_HZ))
            scores = segments_to_seconds(scores, model.segment_s, count)
        is_cry = truth.segments(clip.clip_id, len(scores))
        starts = np.arange(len(scores), dtype=float)
        columns = {"clip_id": clip.clip_id, "start_s": starts, "end_s": starts + 1}
        parts.append(pd.DataFrame(columns | {"score": scores, "is_cry": is_cry}))
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(0, "model", model.name)
    return frame
