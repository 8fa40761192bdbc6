"""Whether two detectors differ on the same rows: the paired bootstrap over groups, McNemar's test.

The same draws of groups are given to both (Efron and Tibshirani, 1993, chapters 13 and 16), so what
the recordings have in common cancels. Two bare numbers on one split say nothing of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.metrics.bootstrap import percentiles
from crywatch.metrics.intervals import group_draws

METRICS = ("auc", "average_precision")
DRAWS = 5000  # p has no value below 2 / (DRAWS + 1): enough for Holm's correction of 100 tests
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
    ends, gains = None, np.empty((0, len(METRICS)))
    if min(n_cry, n_other) >= 2:
        draws = [group_draws(labels, scores, names, seed, DRAWS) for scores in (first, second)]
        gains = draws[1] - draws[0]
        gains, ends = gains[np.isfinite(gains).all(axis=1)], percentiles(gains)
    differences = {}
    for column, (name, score) in enumerate(
        zip(METRICS, (roc_auc_score, average_precision_score), strict=True)
    ):
        low = high = p = None
        if ends is not None:
            low, high = ends[:, column].tolist()
            tail = min(np.sum(gains[:, column] <= 0), np.sum(gains[:, column] >= 0))
            p = float(min(1.0, 2 * (tail + 1) / (len(gains) + 1)))
        differences[name] = PairedDifference(
            metric=name,
            first=float(score(labels, first)),
            second=float(score(labels, second)),
            low=low,
            high=high,
            p=p,
            n=len(labels),
            cry_groups=n_cry,
            other_groups=n_other,
        )
    return differences


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
