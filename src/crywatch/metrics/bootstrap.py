"""The bootstrap over groups: whole groups are drawn with replacement, a statistic computed anew.

Seconds of one recording, or clips of one infant, are no independent samples; recordings and infants
are (Efron and Tibshirani, 1993, chapters 8, 13 and 16). The draws depend on the number of groups
and on the seed alone, so two detectors on the same rows get the same draws, and the differences of
what they give are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

RESAMPLES = 400
LEVEL = 0.95  # of intervals
TAILS = ((1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2)
CELLS = 2_000_000  # numbers that a statistic works on at a time: draws x its width

# Takes how often each group is drawn, [draws, groups], and gives [draws, values], NaN where a value
# is not defined.
Statistic = Callable[[np.ndarray], np.ndarray]


def bootstrap(
    statistic: Statistic,
    groups: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    width: int = 1,
    multinomial: bool = False,
) -> np.ndarray:
    """Values [resamples, values] of ``statistic`` in draws of as many ``groups`` as there are.

    ``width`` is the size of what ``statistic`` computes on for one draw, its rows or levels; the
    memory that is used depends on it. ``multinomial`` draws the counts themselves instead of one
    group after the other: the same distribution, but other numbers of the same seed.
    """
    blocks = _counts(groups, resamples, seed, max(1, CELLS // max(width, groups)), multinomial)
    return np.concatenate([statistic(times) for times in blocks])


def percentiles(values: np.ndarray) -> np.ndarray | None:
    """Ends [2, values] of the `LEVEL` intervals of ``values`` [draws, values].

    A draw in which one of the values is not defined counts for nothing; None without any other.
    """
    defined = values[np.isfinite(values).all(axis=1)]
    return np.quantile(defined, TAILS, axis=0) if len(defined) else None


def _counts(
    groups: int, resamples: int, seed: int, block: int, multinomial: bool
) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        draws = min(block, resamples - start)
        if multinomial:
            yield rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)
        else:
            chosen = rng.integers(groups, size=(draws, groups))
            cells = (chosen + groups * np.arange(draws)[:, None]).ravel()
            counted = np.bincount(cells, minlength=draws * groups)
            yield counted.reshape(draws, groups).astype(float)


class Ranking:
    """Rows of one detector by the levels of its scores, from which a draw's metrics are made.

    ``labels`` [n] bool, ``scores`` [n] and the numbers ``group`` [n] of the groups.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, group: np.ndarray):
        from scipy.sparse import coo_array

        levels, level = np.unique(np.asarray(scores, dtype=float), return_inverse=True)
        shape = int(group.max()) + 1, len(levels)
        self.width = len(levels)
        self._cry, self._other = (
            coo_array((rows.astype(float), (group, level)), shape).tocsr()
            for rows in (labels, ~labels)
        )

    def weights(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of cries and of others [draws, levels], the highest level first."""
        return (times @ self._cry)[:, ::-1], (times @ self._other)[:, ::-1]

    def areas(self, times: np.ndarray) -> np.ndarray:
        """[draws, 2]: area under the ROC curve and average precision; NaN where a class lacks."""
        cry, other = self.weights(times)
        hits, alarms = np.cumsum(cry, axis=1), np.cumsum(other, axis=1)
        n_cry, n_other = hits[:, -1], alarms[:, -1]
        called = hits + alarms
        precision = np.divide(hits, called, out=np.zeros_like(called), where=called > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            below = n_other[:, None] - alarms + other / 2
            auc = (cry * below).sum(axis=1) / (n_cry * n_other)
            # One product a draw: a sum over the axis would add in another order.
            products = [row @ weight for row, weight in zip(cry, precision, strict=True)]
            average = np.array(products) / n_cry
        return np.where((n_other > 0)[:, None], np.stack([auc, average], axis=1), np.nan)

    def max_f1(self, times: np.ndarray) -> np.ndarray:
        """[draws]: the highest F1 over all thresholds; NaN where a class lacks."""
        hits, alarms = (np.cumsum(weights, axis=1) for weights in self.weights(times))
        called = hits + alarms
        with np.errstate(divide="ignore", invalid="ignore"):
            best = (2 * hits / (called + hits[:, -1:])).max(axis=1)
        return np.where((hits[:, -1] > 0) & (alarms[:, -1] > 0), best, np.nan)


def group_numbers(groups: Sequence[str] | np.ndarray) -> tuple[np.ndarray, int]:
    """The number [n] of the group of each row, in the order of their names; how many there are."""
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return group, len(names)
