"""Metrics of every model on every scope, by second and by clip, and the headline numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from crywatch.data.selection import MADE
from crywatch.evaluation.evaluate.detection.events import CHOSEN, EventRow
from crywatch.evaluation.scopes import POOLED, SECOND, by_unit, left_out, scopes
from crywatch.evaluation.scored import ScoredSystem
from crywatch.metrics.curves import BinaryMetrics
from crywatch.metrics.intervals import Intervals
from crywatch.metrics.rows import flat

HEADLINE = ("auc", "average_precision", "f1_max", "accuracy")
EVENT_HEADLINE = ("event_f1", "psds1", "false_alarms_per_hour", "latency_s")
CURVE_MODELS = ("blazenet/all_1s", "rtfm/trimmed", "rtfm/untrimmed")  # Table 6 and Figure 3
MAIN_MODELS = (*CURVE_MODELS, "robust/robust", "rtfm/robust")  # with headline numbers
ALL_PARTS = "all"  # stands for the part of a corpus left out


@dataclass(frozen=True)
class DetectionRow:
    """Metrics of one model on one scope."""

    model: str
    scope: str
    unit: str  # second, clip
    part: str  # val, test, all
    metrics: BinaryMetrics
    intervals: Intervals


def measure(model: ScoredSystem, seconds: pd.DataFrame, threshold: float) -> Iterator[DetectionRow]:
    """Rows of one model over parts, scopes and units; ``seconds`` know their clips."""
    places = [
        (part, *scope)
        for part in ("val", "test")
        for scope in scopes(seconds[seconds["split"] == part])
    ]
    if model.leave_out:
        places.append((ALL_PARTS, *left_out(seconds, model.leave_out)))
    for part, scope, here in places:
        # Nothing is reported of the validation part that would need intervals.
        for found in by_unit(here, threshold, drawn=part != "val"):
            yield DetectionRow(model.name, scope, found.unit, part, found.metrics, found.intervals)


def headlines(
    rows: Sequence[DetectionRow], events: Sequence[EventRow]
) -> dict[str, dict[str, float]]:
    """For `dvc metrics` and `dvc exp show`: a few numbers per second of the main models."""
    headline: dict[str, dict[str, float | None]] = {}
    for row in rows:
        if row.unit != SECOND or row.part == "val":
            continue
        mine = headline.setdefault(row.model, {})
        values = flat(row.metrics)
        if row.part == ALL_PARTS:
            mine["auc_left_out"] = values["auc"]
        elif row.model in MAIN_MODELS and row.scope == POOLED:
            mine |= {name: values[name] for name in HEADLINE}
        elif row.model in MAIN_MODELS and "," not in row.scope:
            mine[f"auc_{row.scope}"] = values["auc"]
    for event in events:
        if event.model in MAIN_MODELS and event.threshold_from == CHOSEN and event.scope in MADE:
            values = flat(event.metrics)
            mine = headline.setdefault(event.model, {})
            mine |= {f"{name}_{event.scope}": values[name] for name in EVENT_HEADLINE}
    rounded = {
        model: {name: round(value, 6) for name, value in values.items() if value is not None}
        for model, values in headline.items()
    }
    return {model: values for model, values in rounded.items() if values}
