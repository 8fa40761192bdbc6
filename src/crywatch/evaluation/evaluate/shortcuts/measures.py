"""What the scores say: each channel, each corpus, corpora left out, and one factor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.data.selection import is_left_out
from crywatch.evaluation.scopes import by_unit, clips_alone, known, left_out, scopes
from crywatch.evaluation.scored import AS_RECORDED, ScoredSystem
from crywatch.metrics.curves import BinaryMetrics, binary_metrics
from crywatch.metrics.intervals import Intervals

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
    system: ScoredSystem, heard: Mapping[str, pd.DataFrame], threshold: float
) -> Iterator[ChannelRow]:
    """Rows of the test part, pooled and within each corpus, through each channel of ``heard``.

    Its seconds, by channel, are those that are audible, and know their clips.
    """
    for channel, seconds in heard.items():
        seconds = clips_alone(seconds)
        for scope, here in scopes(seconds[seconds["split"] == "test"]):
            yield from _units(system, channel, scope, here, threshold)


def left_out_rows(
    system: ScoredSystem, recorded: pd.DataFrame, threshold: float
) -> Iterator[ChannelRow]:
    """A system on all clips, as recorded, of what it never heard."""
    if system.leave_out:
        scope, here = left_out(clips_alone(recorded), system.leave_out)
        yield from _units(system, AS_RECORDED, scope, here, threshold)


def factor_rows(
    system: ScoredSystem,
    heard: Mapping[str, pd.DataFrame],
    factors: Mapping[str, Sequence[str]],
    threshold: float,
) -> Iterator[FactorRow]:
    """What changes in the scores of the test part when one factor does; canonical clips."""
    plain = known(clips_alone(heard[AS_RECORDED]))
    plain = plain[(plain["split"] == "test") & plain["canonical"]]
    for factor, channels in factors.items():
        for channel in channels:
            after = heard[channel].set_index(["clip_id", "start_s"])["score"]
            yield _factor(
                system, factor, channel, plain.set_index(["clip_id", "start_s"]), after, threshold
            )


def alarm_threshold(recorded: pd.DataFrame, rate: float, leave_out: str = "") -> float | None:
    """The lowest with at most ``rate`` false alarms on the others of part val; None without others.

    What was never heard chooses nothing.
    """
    seconds = clips_alone(recorded)
    seconds = seconds[(seconds["split"] == "val") & (seconds["label"] == "other")]
    seconds = seconds[seconds["canonical"] & ~is_left_out(seconds, leave_out)]
    if seconds.empty:
        return None
    falling = np.sort(seconds["score"].to_numpy())[::-1]
    allowed = int(np.floor(rate * len(falling) + 1e-9))
    # Just above the first score that must not alarm.
    return float(np.nextafter(falling[allowed], np.inf))


def _factor(
    system: ScoredSystem,
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


def _units(
    system: ScoredSystem, channel: str, scope: str, seconds: pd.DataFrame, threshold: float
) -> Iterator[ChannelRow]:
    for found in by_unit(seconds, threshold):
        head = (system.name, system.row, channel, scope, found.unit)
        yield ChannelRow(*head, found.metrics, found.intervals)
