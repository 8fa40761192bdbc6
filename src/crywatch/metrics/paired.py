"""Whether two detectors differ on the same rows: the paired bootstrap over groups, McNemar's test.

The same draws of groups are given to both (Efron and Tibshirani, 1993, chapters 13 and 16), so what
the recordings have in common cancels. Two bare numbers on one split say nothing of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.metrics.intervals import TAILS

METRICS = ("auc", "average_precision")
DRAWS = 5000  # p has no value below 2 / (DRAWS + 1): enough for Holm's correction of 100 tests
CELLS = 2_000_000  # drawn at a time, draws by rows
MIN_GROUPS = 5  # of each class, below which the bootstrap's p is far too low to decide by


@dataclass(frozen=True)
class PairedDifference:
    """``second`` minus ``first`` of one metric on the same rows."""

    metric: str  # of `METRICS`
    first: float
    second: float
    low: float | None  # of the 95 % interval; None where a class has fewer than two groups
    high: float | None
    p: float | None  # two-sided, of no difference; at least 2 / (DRAWS + 1)
    n: int  # rows
    cry_groups: int
    other_groups: int

    @property
    def difference(self) -> float:
        """Above 0: the second is better."""
        return self.second - self.first

    @property
    def decidable(self) -> bool:
        """Whether there are groups enough to decide by ``p``."""
        return self.p is not None and min(self.cry_groups, self.other_groups) >= MIN_GROUPS


def paired_differences(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    seed: int = 0,
) -> dict[str, PairedDifference]:
    """Metric to difference of two detectors' scores [n] against ``labels`` [n] bool.

    ``groups`` [n] are names of what is drawn. Rows of both classes are needed: ValueError.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels = np.asarray(labels, dtype=bool)
    if labels.all() or not labels.any():
        raise ValueError("cries and other sounds are both needed to compare two detectors")
    names = np.asarray(groups, dtype=str)
    n_cry, n_other = len(np.unique(names[labels])), len(np.unique(names[~labels]))
    apart = np.empty((0, len(METRICS)))
    if min(n_cry, n_other) >= 2:
        drawn = paired_draws(labels, (first, second), names, seed)
        apart = drawn[1] - drawn[0]
        apart = apart[np.isfinite(apart).all(axis=1)]
    found = {}
    for column, (name, score) in enumerate(
        zip(METRICS, (roc_auc_score, average_precision_score), strict=True)
    ):
        low = high = p = None
        if len(apart):
            low, high = np.quantile(apart[:, column], TAILS).tolist()
            tail = min(np.sum(apart[:, column] <= 0), np.sum(apart[:, column] >= 0))
            p = float(min(1.0, 2 * (tail + 1) / (len(apart) + 1)))
        values = float(score(labels, first)), float(score(labels, second))
        found[name] = PairedDifference(name, *values, low, high, p, len(labels), n_cry, n_other)
    return found


def paired_draws(
    labels: np.ndarray,
    scores: Sequence[np.ndarray],
    groups: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
) -> np.ndarray:
    """[detectors, draws, 2]: the `METRICS` of each of ``scores`` in the same draws of groups.

    NaN where a draw lacks a class. The draws are those of `intervals.group_draws`, many
    at a time.
    """
    labels = np.asarray(labels, dtype=bool)
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    ranked = [_Ranked.of(labels, one) for one in scores]
    rng = np.random.default_rng(seed)
    found = np.full((len(ranked), draws, len(METRICS)), np.nan)
    block = max(1, CELLS // len(labels))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        chosen = rng.integers(len(names), size=(count, len(names)))
        times = np.zeros((count, len(names)))
        np.add.at(times, (np.arange(count)[:, None], chosen), 1)
        weights = times[:, group]
        for number, one in enumerate(ranked):
            found[number, start : start + count] = one.metrics(weights)
    return found


@dataclass(frozen=True)
class _Ranked:
    """Rows in the order of their scores, rising."""

    order: np.ndarray
    starts: np.ndarray  # of each level of the score, in that order
    cry: np.ndarray  # [n] 0 or 1, in that order

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> _Ranked:
        scores = np.asarray(scores, dtype=float)
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        return cls(order, starts, labels[order].astype(float))

    def metrics(self, weights: np.ndarray) -> np.ndarray:
        """[draws, 2] of ``weights`` [draws, n] of the rows."""
        weights = weights[:, self.order]
        cry = np.add.reduceat(weights * self.cry, self.starts, axis=1)
        called = np.add.reduceat(weights, self.starts, axis=1)
        other = called - cry
        n_cry, n_other = cry.sum(axis=1), other.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            below = np.cumsum(other, axis=1) - other / 2
            auc = (cry * below).sum(axis=1) / (n_cry * n_other)
            falling, called = cry[:, ::-1], np.cumsum(called[:, ::-1], axis=1)
            precision = np.cumsum(falling, axis=1) / np.where(called > 0, called, 1.0)
            average = (falling * precision).sum(axis=1) / n_cry
        average[n_other == 0] = np.nan
        return np.stack([auc, average], axis=1)


@dataclass(frozen=True)
class McNemar:
    """Who alone is right, and the exact test of whether that is chance (McNemar, 1947)."""

    n: int  # cases that both decided
    first_right: int
    second_right: int
    only_first: int  # cases that the first alone has right
    only_second: int
    p: float  # two-sided, exact


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """Of two detectors' decisions [n] bool (right or wrong) on the same independent cases."""
    from scipy.stats import binomtest

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    p = float(binomtest(only_first, apart).pvalue) if apart else 1.0
    return McNemar(len(first), int(first.sum()), int(second.sum()), only_first, only_second, p)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """The p values of one family of tests, adjusted by Holm (1979); None is no test."""
    tests = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    so_far = 0.0
    for rank, (p, place) in enumerate(tests):
        so_far = max(so_far, min(1.0, p * (len(tests) - rank)))
        adjusted[place] = so_far
    return adjusted
