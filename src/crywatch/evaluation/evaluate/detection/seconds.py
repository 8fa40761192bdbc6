"""Table "measured": every measured second with what is known of its clip.

The stage writes and logs it, so that runs of any two rebuilds can be paired by the sound of a clip:
a comparison needs nothing beside it. On which of its rows each number is measured, and what the
number is called in the tracking store, stands here once, for the stage and for `crywatch compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.evaluation.evaluate.detection.measures import DetectionRow
from crywatch.evaluation.scopes import (
    CLIP,
    LEFT_OUT,
    POOLED,
    SECOND,
    best_threshold,
    by_clip,
    left_out,
    pooled,
    scopes,
    units,
)
from crywatch.metrics.bootstrap import Ranking, bootstrap, group_numbers, percentiles
from crywatch.metrics.rows import flat

FILE = "measured.parquet"
PART = "test"
DRAWN = ("auc", "average_precision")  # metrics with intervals, of every row
DECIDED = ("f1_max", "accuracy")  # those of the headline that are drawn for it alone
DIGITS = 6

OF_CLIP = ("clip_id", "sha256", "corpus", "label", "group_id", "split", "canonical")


@dataclass(frozen=True)
class MeasuredPlace:
    """What one model is measured on, by what unit."""

    scope: str
    unit: str  # second, clip
    rows: pd.DataFrame  # score, is_cry, group_id and what the table knows of the clip


def places(seconds: pd.DataFrame) -> Iterator[MeasuredPlace]:
    """Everything that one model is reported on: scopes of the test part, and its corpus left out.

    A model is scored on the training part of a corpus only if it was never trained on it.
    """
    places = list(scopes(seconds[seconds["split"] == PART]))
    for corpus in sorted(set(seconds.loc[seconds["split"] == "train", "corpus"])):
        places.append(left_out(seconds, corpus))
    for scope, rows in places:
        for unit, cases in units(rows):
            yield MeasuredPlace(scope, unit, cases if unit == SECOND else clip_rows(rows))


def clip_rows(seconds: pd.DataFrame) -> pd.DataFrame:
    """`by_clip` with the columns of the clip."""
    columns = [name for name in OF_CLIP if name not in ("clip_id", "label", "group_id")]
    known = seconds.drop_duplicates("clip_id").set_index("clip_id")[columns]
    return by_clip(seconds).join(known).reset_index()


def thresholds(seconds: pd.DataFrame) -> dict[str, float]:
    """By model the threshold of the highest F1 per second on the pooled validation part.

    A model without cries in that part gets none.
    """
    by_model = seconds.groupby("model", sort=False)
    chosen = {str(model): best_threshold(frame) for model, frame in by_model}
    return {model: threshold for model, threshold in chosen.items() if threshold is not None}


def metric_name(model: str, scope: str, unit: str, metric: str) -> str:
    """In the tracking store: those per second are called as in metrics.json."""
    if f", {LEFT_OUT}" in scope:
        scope = LEFT_OUT
    parts = [metric, CLIP if unit == CLIP else ""]
    parts.append("" if scope == POOLED and unit == SECOND else scope.replace(",", ""))
    return f"{model}/" + "_".join("_".join(part.split()) for part in parts if part)


def named_metrics(rows: Iterable[DetectionRow], models: Iterable[str]) -> dict[str, float]:
    """For the tracking store: ``name``, ``name_low`` and ``name_high`` of all that is reported.

    That is AUC and average precision of ``models`` on every scope of the test part, and of every
    model on its corpus left out; without ``_low`` and ``_high`` where nothing could be drawn.
    """
    wanted, metrics = set(models), {}
    for row in rows:
        if row.part == "val" or (row.part == PART and row.model not in wanted):
            continue
        values = flat(row.metrics) | flat(row.intervals)
        for metric in DRAWN:
            name = metric_name(row.model, row.scope, row.unit, metric)
            for end in ("", "_low", "_high"):
                value = values[f"{metric}{end}"]
                if value is not None:
                    metrics[f"{name}{end}"] = round(value, DIGITS)
    return metrics


def ends_of(names: Iterable[str], metrics: Iterable[str]) -> set[str]:
    """Of ``metrics`` the ends of the intervals of ``names``."""
    ends = {f"{name}_{end}" for name in names for end in ("low", "high")}
    return ends & set(metrics)


def decided_intervals(
    seconds: pd.DataFrame, models: Iterable[str], threshold: float
) -> dict[str, float]:
    """``<model>/<metric>_low`` and ``_high`` of `DECIDED`, pooled, per second of the test part.

    By the bootstrap over groups, as the intervals of AUC; none where a class has fewer than two.
    ``threshold`` is that of the accuracy; F1 is the highest of each draw.
    """
    intervals = {}
    test = seconds[seconds["split"] == PART]
    for model in models:
        rows = pooled(test[test["model"] == model])
        ends = _decided_ends(rows, threshold) if len(rows) else None
        if ends is not None:
            for end, values in zip(("low", "high"), ends.round(DIGITS).tolist(), strict=True):
                for metric, value in zip(DECIDED, values, strict=True):
                    intervals[f"{model}/{metric}_{end}"] = value
    return intervals


def _decided_ends(seconds: pd.DataFrame, threshold: float) -> np.ndarray | None:
    """Ends [2, 2] of the intervals of `DECIDED`; None where nothing can be drawn."""
    labels, scores = seconds["is_cry"].to_numpy(), seconds["score"].to_numpy()
    group, n_groups = group_numbers(seconds["group_id"])
    if min(len(np.unique(group[labels])), len(np.unique(group[~labels]))) < 2:
        return None
    ranking = Ranking(labels, scores, group)
    right = np.bincount(group, (scores >= threshold) == labels)
    rows = np.bincount(group)

    def f1_and_accuracy(times: np.ndarray) -> np.ndarray:
        return np.stack([ranking.max_f1(times), times @ right / (times @ rows)], axis=1)

    return percentiles(bootstrap(f1_and_accuracy, n_groups, width=ranking.width))
