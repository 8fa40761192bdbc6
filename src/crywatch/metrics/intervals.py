"""How far a metric would move with other recordings: the bootstrap over groups, Poisson counts.

Seconds of one recording, or clips of one infant, are no independent samples: whole groups are drawn
with replacement (Efron and Tibshirani, 1993, chapters 8 and 13), and the 2.5 and 97.5 % quantiles
are the interval.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 400
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2)


@dataclass(frozen=True)
class Intervals:
    """95 % intervals, None where a class has fewer than two groups; and how many groups it has."""

    auc_low: float | None = None
    auc_high: float | None = None
    average_precision_low: float | None = None
    average_precision_high: float | None = None
    cry_groups: int | None = None  # that hold a cry; None where nothing was drawn
    other_groups: int | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Plain values."""
        return asdict(self)


def group_bootstrap(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int = 0
) -> Intervals:
    """Intervals of AUC and average precision of ``scores`` [n] against ``labels`` [n] bool.

    ``groups`` [n] are names of what is drawn. A draw that lacks a class counts for nothing.
    """
    labels = np.asarray(labels, dtype=bool)
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    held = Intervals(
        cry_groups=len(np.unique(group[labels])), other_groups=len(np.unique(group[~labels]))
    )
    if min(held.cry_groups, held.other_groups) < 2:
        return held
    drawn = group_draws(labels, scores, groups, seed)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if not len(drawn):
        return held
    (auc_low, ap_low), (auc_high, ap_high) = np.quantile(drawn, TAILS, axis=0).tolist()
    return Intervals(auc_low, auc_high, ap_low, ap_high, held.cry_groups, held.other_groups)


def group_draws(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, seed: int = 0
) -> np.ndarray:
    """[`RESAMPLES`, 2]: AUC and average precision of every draw; NaN where it lacks a class.

    The draws depend on ``groups`` and ``seed`` alone: those of two detectors on the same rows are
    pairs, and so are their differences.
    """
    labels = np.asarray(labels, dtype=bool)
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    levels, level = np.unique(np.asarray(scores, dtype=float), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = np.full((RESAMPLES, 2), np.nan)
    for row in drawn:
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[group]
        cry = np.bincount(level, weight * labels, len(levels))
        other = np.bincount(level, weight * ~labels, len(levels))
        if cry.any() and other.any():
            row[:] = _auc(cry, other), _average_precision(cry, other)
    return drawn


def _auc(cry: np.ndarray, other: np.ndarray) -> float:
    """From the weights at each level of the score, rising."""
    below = np.cumsum(other) - other / 2
    return float(cry @ below / (cry.sum() * other.sum()))


def _average_precision(cry: np.ndarray, other: np.ndarray) -> float:
    cry, other = cry[::-1], other[::-1]
    hits, called = np.cumsum(cry), np.cumsum(cry + other)
    precision = np.divide(hits, called, out=np.zeros(len(hits)), where=called > 0)
    return float(cry @ precision / cry.sum())


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
