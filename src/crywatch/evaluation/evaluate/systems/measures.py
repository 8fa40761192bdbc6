"""One row for all systems that differ by their seed alone, beside the peer on the same seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import pandas as pd

from crywatch.core.progress import progress
from crywatch.data.selection import leaves_kinds
from crywatch.evaluation.scopes import (
    LEFT_OUT,
    audible,
    best_threshold,
    clips_alone,
    left_out,
    scopes,
    units,
)
from crywatch.evaluation.scored import (
    AS_RECORDED,
    SYSTEMS,
    UNTRAINED,
    Scored,
    ScoredSystem,
    ScoreIndex,
)
from crywatch.metrics.bootstrap import percentiles
from crywatch.metrics.curves import binary_metrics
from crywatch.metrics.intervals import group_draws

METRICS = ("auc", "average_precision", "recall_at_1pct", "accuracy", "f1", "false_alarm_rate")
DRAWN = ("auc", "average_precision")  # of a bootstrap's draw, in this order
UNSEEN_KINDS = f"kinds of sound, {LEFT_OUT}"  # by cross-validation: each by a system without it


@dataclass(frozen=True)
class SeedEstimate:
    """A metric over the systems of one row, which differ by their seed."""

    mean: float | None
    sd: float | None  # n - 1; None for fewer than two systems
    low: float | None = None  # 95 % interval of the mean over groups, where it is drawn
    high: float | None = None
    difference: float | None = None  # to the peer's mean on the same seconds
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True)
class ComparedRow:
    """The systems of one row on one scope through one channel."""

    row: str  # of a table: the system without its seed
    systems: int
    channel: str
    scope: str
    unit: str  # second, clip
    n: int
    n_cry: int
    cry_groups: int
    other_groups: int
    metrics: dict[str, SeedEstimate]  # of METRICS


@dataclass(frozen=True)
class _Place:
    """What is measured: equal for every system."""

    channel: str
    scope: str
    unit: str


@dataclass(frozen=True)
class _Measurement:
    """One system at one place."""

    metrics: dict[str, float | None]
    draws: np.ndarray  # [resamples, 2]
    head: dict[str, int]
    rows: tuple[str, ...]  # of the seconds or clips, to know that they are the peer's


def compare(scored: Scored, peer: str) -> list[ComparedRow]:
    """Rows of all compared systems. Silent seconds are left out, of clips too.

    ``peer`` names the system whose difference to each row is estimated, where it is among them.
    On what is left out nothing is decided: its validation part is among what is measured. Systems
    of one row that leave kinds of sound out are the folds of a cross-validation: together they are
    measured on every kind, by the scores of the one that never heard it; cries have their mean.
    """
    systems = scored.index.of(SYSTEMS)
    rows: dict[str, dict[_Place, list[_Measurement]]] = {}
    unseen: dict[str, list[pd.DataFrame]] = {}  # by row, a fold each
    for system in progress(systems, "compare", unit="system"):
        places = rows.setdefault(system.row, {})
        recorded = audible(clips_alone(scored.seconds(system.name)))
        chosen = best_threshold(recorded)
        folds = filter(leaves_kinds, never_heard(system, scored.index))
        frames = [left_out(recorded, fold)[1] for fold in folds]
        unseen.setdefault(system.row, []).extend(frames)
        for channel, scope, seconds in _scopes(system, recorded, scored):
            threshold = None if f", {LEFT_OUT}" in scope else chosen
            ordered = seconds.sort_values(["clip_id", "start_s"], kind="stable")
            for unit, cases in units(ordered):
                if cases["is_cry"].nunique() == 2:
                    place = _Place(channel, scope, unit)
                    places.setdefault(place, []).append(_measure(cases, threshold))
    for row, frames in unseen.items():
        for unit, cases in units(_merged(frames)) if len(frames) > 1 else ():
            rows[row][_Place(AS_RECORDED, UNSEEN_KINDS, unit)] = [_measure(cases, None)]
    peers = next((rows[system.row] for system in systems if system.name == peer), {})
    return [
        _row(row, place, measured, peers.get(place, [None])[0] if row != peer else None)
        for row, places in rows.items()
        for place, measured in places.items()
    ]


def _scopes(
    system: ScoredSystem, recorded: pd.DataFrame, scored: Scored
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Channel, scope and seconds of everything that a system is measured on.

    Who never heard a corpus or kind is measured on that alone; the untrained on each of these too.
    """
    index = scored.index
    if not system.leave_out:
        for channel in dict.fromkeys([AS_RECORDED, *index.matched, *index.shifts]):
            heard = recorded
            if channel != AS_RECORDED:
                heard = audible(scored.seconds(system.name, channel))
            for scope, here in scopes(heard[heard["split"] == "test"]):
                yield channel, scope, here
    for leave_out in never_heard(system, index):
        scope, here = left_out(recorded, leave_out)
        yield AS_RECORDED, scope, here


def never_heard(system: ScoredSystem, index: ScoreIndex) -> list[str]:
    """What ``system`` leaves out; of the untrained what any of the others does."""
    systems = index.of(SYSTEMS) if system.family in UNTRAINED else [system]
    return [name for name in dict.fromkeys(each.leave_out for each in systems) if name]


def _merged(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every second once, in order, with the mean of its scores."""
    seconds = pd.concat(frames)
    at = ["clip_id", "start_s"]
    seconds["score"] = seconds.groupby(at)["score"].transform("mean")
    return seconds.drop_duplicates(at).sort_values(at, kind="stable")


def _measure(rows: pd.DataFrame, threshold: float | None) -> _Measurement:
    labels, scores = rows["is_cry"].to_numpy(), rows["score"].to_numpy()
    values = binary_metrics(labels, scores, np.inf if threshold is None else threshold)
    metrics = {name: getattr(values, name) for name in METRICS if name != "f1"}
    precision, recall = values.precision or 0.0, values.recall or 0.0
    both = precision + recall
    metrics["f1"] = 2 * precision * recall / both if both else 0.0
    if threshold is None:
        metrics |= dict.fromkeys(("accuracy", "f1", "false_alarm_rate"))
    groups = rows["group_id"].astype(str)
    head = {
        "n": values.n,
        "n_cry": values.n_cry,
        "cry_groups": int(groups[labels].nunique()),
        "other_groups": int(groups[~labels].nunique()),
    }
    ids = rows["clip_id"] + rows["start_s"].astype(str) if "start_s" in rows else rows.index
    return _Measurement(metrics, group_draws(labels, scores, groups), head, tuple(ids))


def _row(
    row: str, place: _Place, systems: Sequence[_Measurement], peer: _Measurement | None
) -> ComparedRow:
    head = systems[0].head
    # As everywhere: no interval where a class has fewer than two groups.
    drawable = min(head["cry_groups"], head["other_groups"]) >= 2
    if peer is not None and any(system.rows != peer.rows for system in systems):
        peer = None  # other seconds are no pairs
    draws = np.mean([system.draws for system in systems], axis=0)
    metrics = {}
    for name in METRICS:
        values = [value for system in systems if (value := system.metrics[name]) is not None]
        mean = fmean(values) if values else None
        interval, difference = {}, {}
        if name in DRAWN:
            column = DRAWN.index(name)
            interval = _interval(draws[:, column], "low", "high") if drawable else {}
            known = None if peer is None else peer.metrics[name]
            if peer is not None and mean is not None and known is not None:
                difference = {"difference": mean - known}
                gain = draws[:, column] - peer.draws[:, column]
                ends = ("difference_low", "difference_high")
                difference |= _interval(gain, *ends) if drawable else {}
        sd = stdev(values) if len(values) > 1 else None
        metrics[name] = SeedEstimate(mean=mean, sd=sd, **interval, **difference)
    return ComparedRow(
        row, len(systems), place.channel, place.scope, place.unit, metrics=metrics, **head
    )


def _interval(draws: np.ndarray, *names: str) -> dict[str, float]:
    ends = percentiles(draws[:, None])
    return {} if ends is None else dict(zip(names, ends[:, 0].tolist(), strict=True))
