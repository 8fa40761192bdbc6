"""What the scores say: each channel, each corpus, corpora left out, and one factor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.detection.systems import System
from crywatch.evaluation.channel_scores import AS_RECORDED, audible
from crywatch.evaluation.scopes import left_out, scopes, units
from crywatch.metrics.curves import BinaryMetrics, binary_metrics
from crywatch.metrics.intervals import Intervals, group_bootstrap

EPSILON = 1e-6  # a score is held this far from 0 and 1 before its logit


@dataclass(frozen=True)
class ChannelRow:
    """One system on one scope through one channel."""

    system: str
    row: str  # of a table: the system without its seed
    channel: str
    scope: str  # pooled; a corpus; cries of one and others of another; a corpus left out
    unit: str  # second, clip
    metrics: BinaryMetrics
    intervals: Intervals


@dataclass(frozen=True)
class FactorRow:
    """The same seconds before and after one thing has changed."""

    system: str
    row: str
    factor: str  # level, bandwidth, codec, noise, resampler
    channel: str
    n: int  # seconds
    logit_change_cry: float | None  # mean, of the seconds that are cries
    logit_change_other: float | None
    flipped: float  # share of the decisions at the threshold that are no longer the same
    auc: float | None  # after
    auc_change: float | None


def channel_rows(
    systems: Sequence[System], scores: pd.DataFrame, channels: Sequence[str], threshold: float
) -> Iterator[ChannelRow]:
    """Rows of the test part, pooled and within each corpus, through each of ``channels``.

    ``scores`` know their clips. Silent seconds are left out, of clips too.
    """
    tested = audible(scores[scores["split"] == "test"])
    for system, channel, frame in _each(systems, tested, channels):
        for scope, seconds in scopes(frame):
            yield from _units(system, channel, scope, seconds, threshold)


def left_out_rows(
    systems: Sequence[System], scores: pd.DataFrame, threshold: float
) -> Iterator[ChannelRow]:
    """Each system on all clips, as recorded, of the corpus that it never heard."""
    leaving = [system for system in systems if system.leave_out]
    for system, channel, frame in _each(leaving, audible(scores), [AS_RECORDED]):
        scope, seconds = left_out(frame, system.leave_out)
        yield from _units(system, channel, scope, seconds, threshold)


def factor_rows(
    systems: Sequence[System],
    scores: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    threshold: float,
) -> Iterator[FactorRow]:
    """What changes in the scores of the test part when one factor does; canonical clips."""
    tested = audible(scores[(scores["split"] == "test") & scores["canonical"]])
    for system in systems:
        mine = tested[tested["system"] == system.name]
        plain = mine[mine["channel"] == AS_RECORDED].set_index(["clip_id", "start_s"])
        for factor, channels in factors.items():
            for channel in channels:
                after = mine[mine["channel"] == channel].set_index(["clip_id", "start_s"])
                yield _factor(system, factor, channel, plain, after["score"], threshold)


def _factor(
    system: System,
    factor: str,
    channel: str,
    plain: pd.DataFrame,
    after: pd.Series,
    threshold: float,
) -> FactorRow:
    is_cry, before = plain["is_cry"].to_numpy(), plain["score"].to_numpy()
    changed = after.reindex(plain.index).to_numpy()
    moved = logit(changed) - logit(before)
    auc, auc_before = (binary_metrics(is_cry, s, threshold).auc for s in (changed, before))
    return FactorRow(
        system=system.name,
        row=system.row,
        factor=factor,
        channel=channel,
        n=len(plain),
        logit_change_cry=float(moved[is_cry].mean()) if is_cry.any() else None,
        logit_change_other=float(moved[~is_cry].mean()) if not is_cry.all() else None,
        flipped=float(((changed >= threshold) != (before >= threshold)).mean()),
        auc=auc,
        auc_change=None if auc is None or auc_before is None else auc - auc_before,
    )


def logit(scores: np.ndarray) -> np.ndarray:
    """Of scores [n] in 0..1; finite."""
    inside = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.log(inside) - np.log1p(-inside)


def _each(
    systems: Sequence[System], seconds: pd.DataFrame, channels: Sequence[str]
) -> Iterator[tuple[System, str, pd.DataFrame]]:
    """The seconds of each system through each channel, where there are any."""
    groups = dict(tuple(seconds.groupby(["system", "channel"], sort=False)))
    for system in systems:
        for channel in channels:
            if (system.name, channel) in groups:
                yield system, channel, groups[system.name, channel]


def _units(
    system: System, channel: str, scope: str, seconds: pd.DataFrame, threshold: float
) -> Iterator[ChannelRow]:
    for unit, rows in units(seconds):
        labels, scores = rows["is_cry"].to_numpy(), rows["score"].to_numpy()
        yield ChannelRow(
            system=system.name,
            row=system.row,
            channel=channel,
            scope=scope,
            unit=unit,
            metrics=binary_metrics(labels, scores, threshold),
            intervals=group_bootstrap(labels, scores, rows["group_id"]),
        )
