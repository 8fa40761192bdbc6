"""Intervals by the bootstrap over groups, against a slow bootstrap and what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from crywatch.metrics import intervals
from crywatch.metrics.intervals import Intervals, group_bootstrap
from crywatch.metrics.rows import flat


def scored(n_groups: int, per_group: int, seed: int = 1):
    """Labels by group, scores with ties, names of groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), per_group)
    labels = group % 2 == 0
    scores = np.round(rng.normal(labels + rng.normal(size=n_groups)[group]), 1)
    return labels, scores, np.array([f"g{number}" for number in group])


def test_equal_to_drawing_rows_one_by_one():
    labels, scores, groups = scored(12, 5)
    names = np.unique(groups)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(intervals.RESAMPLES):
        chosen = names[rng.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(groups == name) for name in chosen])
        if len(set(labels[rows])) == 2:
            pair = (labels[rows], scores[rows])
            drawn.append((roc_auc_score(*pair), average_precision_score(*pair)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found = group_bootstrap(labels, scores, groups, seed=3)
    assert (found.auc_low, found.average_precision_low) == pytest.approx(tuple(low))
    assert (found.auc_high, found.average_precision_high) == pytest.approx(tuple(high))


def test_more_rows_of_the_same_groups_are_no_more_evidence():
    labels, scores, groups = scored(10, 4)
    once = group_bootstrap(labels, scores, groups)
    often = group_bootstrap(*(np.tile(values, 9) for values in (labels, scores, groups)))
    assert flat(often) == pytest.approx(flat(once))


def test_more_groups_narrow_the_interval():
    def width(n_groups):
        found = group_bootstrap(*scored(n_groups, 3))
        return found.auc_high - found.auc_low

    assert width(400) < width(20) / 2


def test_one_group_of_a_class_gives_no_interval():
    labels = np.array([True, True, False, False])
    found = group_bootstrap(labels, np.arange(4.0), np.array(list("aabc")))
    assert found == Intervals(cry_groups=1, other_groups=2)


def test_perfect_scores_stay_perfect():
    labels, _, groups = scored(8, 3)
    assert group_bootstrap(labels, labels.astype(float), groups) == Intervals(1, 1, 1, 1, 4, 4)
