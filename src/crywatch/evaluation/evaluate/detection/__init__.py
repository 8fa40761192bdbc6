"""Every model on every second, and the metrics that come from it.

A metric is named by model, scope (what it was measured on, see `crywatch.evaluation.scopes`), unit
(second or clip) and part. A second of a strongly labelled clip is a cry if half of it is; without
onsets it is what the clip is, and a weak cry counts as a clip alone. Event-level metrics (`events`)
are of strongly labelled clips alone; `charts` is what people look at, and `seconds` what a
comparison of runs reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core.atomic import write_json
from crywatch.core.progress import progress
from crywatch.data.selection import leaves_kinds
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate.detection import charts
from crywatch.evaluation.evaluate.detection.events import EventRow, measure_events
from crywatch.evaluation.evaluate.detection.measures import DetectionRow, headlines, measure
from crywatch.evaluation.scored import DETECTION, Scored
from crywatch.metrics.rows import flat


@dataclass(frozen=True)
class DetectionSummary:
    """All rows, and the scores behind them."""

    rows: list[DetectionRow]
    events: list[EventRow]
    measured: pd.DataFrame  # table "measured"
    metrics: dict[str, float]  # with intervals, by their names in the tracking store

    @property
    def headlines(self) -> dict[str, dict[str, float]]:
        """Two dozen numbers, by model."""
        return headlines(self.rows, self.events)


def run(scored: Scored, threshold: float, out_dir: Path) -> DetectionSummary:
    """Measure; writes tables.json, events.json, metrics.json, the curves roc.csv and pr.csv, the
    table "measured" and the folder of charts."""
    frames: list[pd.DataFrame] = []
    rows: list[DetectionRow] = []
    events: list[EventRow] = []
    for model in progress(scored.index.of(DETECTION), "detection", unit="model"):
        known = scored.seconds(model.name)
        rows += measure(model, known, threshold)
        events += measure_events(model, known, scored.truth, threshold)
        if leaves_kinds(model.leave_out):  # which the table, that knows corpora alone, cannot tell
            known = known[known["split"] != "train"]
        frames.append(known.assign(model=model.name)[list(MEASURED.columns)])
    measured = pd.concat(frames, ignore_index=True)
    paths = dict(zip(scored.clips["clip_id"], scored.clips["path"], strict=True))
    metrics = charts.write(rows, measured, paths, threshold, out_dir)
    summary = DetectionSummary(rows, events, measured, metrics)
    write_json(out_dir / "tables.json", [flat(row) for row in rows])
    write_json(out_dir / "events.json", [flat(row) for row in events])
    write_json(out_dir / "metrics.json", summary.headlines)
    return summary
