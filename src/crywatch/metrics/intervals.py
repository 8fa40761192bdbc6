"""How far a metric would move with other recordings: the bootstrap over groups, Poisson counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.metrics.bootstrap import (
    LEVEL,
    RESAMPLES,
    Ranking,
    bootstrap,
    group_numbers,
    percentiles,
)


@dataclass(frozen=True)
class Intervals:
    """95 % intervals, None where a class has fewer than two groups; and how many groups it has."""

    auc_low: float | None = None
    auc_high: float | None = None
    average_precision_low: float | None = None
    average_precision_high: float | None = None
    cry_groups: int | None = None  # that hold a cry; None where nothing was drawn
    other_groups: int | None = None


def group_bootstrap(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int = 0
) -> Intervals:
    """Intervals of AUC and average precision of ``scores`` [n] against ``labels`` [n] bool.

    ``groups`` [n] are names of what is drawn. A draw that lacks a class counts for nothing.
    """
    labels = np.asarray(labels, dtype=bool)
    group, _ = group_numbers(groups)
    n_cry, n_other = len(np.unique(group[labels])), len(np.unique(group[~labels]))
    ends = None
    if min(n_cry, n_other) >= 2:
        ends = percentiles(group_draws(labels, scores, groups, seed))
    if ends is None:
        return Intervals(cry_groups=n_cry, other_groups=n_other)
    (auc_low, precision_low), (auc_high, precision_high) = ends.tolist()
    return Intervals(auc_low, auc_high, precision_low, precision_high, n_cry, n_other)


def group_draws(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    seed: int = 0,
    resamples: int | None = None,
) -> np.ndarray:
    """[resamples, 2]: AUC and average precision of every draw; NaN where it lacks a class.

    The draws depend on ``groups`` and ``seed`` alone: those of two detectors on the same rows are
    pairs, and so are their differences.
    """
    group, count = group_numbers(groups)
    ranking = Ranking(np.asarray(labels, dtype=bool), scores, group)
    return bootstrap(
        ranking.areas, count, resamples=resamples or RESAMPLES, seed=seed, width=ranking.width
    )


@dataclass(frozen=True)
class PoissonInterval:
    """Of the mean of a Poisson count."""

    low: float
    high: float


def poisson_interval(count: int, level: float = LEVEL) -> PoissonInterval:
    """The exact two-sided interval (Garwood, 1936): 3.69 at a count of 0 and 95 %."""
    from scipy.stats import chi2

    tail = (1 - level) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return PoissonInterval(float(low), float(chi2.ppf(1 - tail, 2 * (count + 1)) / 2))


def poisson_upper(count: int, level: float = LEVEL) -> float:
    """The exact one-sided upper bound: 3.00 at a count of 0 and 95 %."""
    from scipy.stats import chi2

    return float(chi2.ppf(level, 2 * (count + 1)) / 2)


def share_interval(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Ends of the exact interval of a share (Clopper and Pearson, 1934)."""
    from scipy.stats import binomtest

    interval = binomtest(count, of).proportion_ci(level)
    return float(interval.low), float(interval.high)
