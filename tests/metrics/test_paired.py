"""The paired bootstrap against a slow reference, McNemar's test and Holm's correction by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from crywatch.metrics import bootstrap, paired
from crywatch.metrics.intervals import RESAMPLES, group_draws
from crywatch.metrics.paired import DRAWS, METRICS, holm, mcnemar, paired_differences


def case(seed: int, groups: int = 12, gain: float = 0.0, noise: float = 1.0):
    """Labels, two detectors' scores and groups: recordings of three rows, half of them cries."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 3)
    labels = group % 2 == 0
    shared = labels + rng.normal(size=groups)[group]
    scores = [
        shared + extra * labels + noise * rng.normal(size=groups)[group] for extra in (0.0, gain)
    ]
    return labels, scores[0].round(1), scores[1].round(1), group.astype(str)


def slow(labels, scores, groups, seed, draws):
    """Rows of every drawn group, repeated as often as it was drawn, given to scikit-learn."""
    names = np.unique(groups)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        chosen = names[rng.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(groups == name) for name in chosen])
        if labels[rows].all() or not labels[rows].any():
            found.append((np.nan, np.nan))
        else:
            found.append(
                (
                    roc_auc_score(labels[rows], scores[rows]),
                    average_precision_score(labels[rows], scores[rows]),
                )
            )
    return np.array(found)


@pytest.mark.parametrize("groups", [3, 12])
def test_draws_are_those_of_scikit_learn_on_repeated_rows(groups):
    labels, first, second, names = case(1, groups)
    found = [group_draws(labels, scores, names, 4, 60) for scores in (first, second)]
    for drawn, scores in zip(found, (first, second), strict=True):
        assert drawn.shape == (60, 2)
        np.testing.assert_allclose(drawn, slow(labels, scores, names, 4, 60), atol=1e-12)
    if groups == 3:
        assert np.isnan(found).any()


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    labels, first, _, names = case(2)
    together = group_draws(labels, first, names, seed=3)
    assert len(together) == RESAMPLES
    monkeypatch.setattr(bootstrap, "CELLS", 36 * 7)  # seven draws at a time
    np.testing.assert_array_equal(group_draws(labels, first, names, seed=3), together)


def test_differences_are_second_minus_first_and_turn_with_the_sides():
    labels, first, second, names = case(3, groups=20, gain=1.0)
    there = paired_differences(labels, first, second, names)
    back = paired_differences(labels, second, first, names)
    assert set(there) == set(METRICS)
    for name, score in zip(METRICS, (roc_auc_score, average_precision_score), strict=True):
        one, other = there[name], back[name]
        assert one.first == score(labels, first) and one.second == score(labels, second)
        assert one.difference == -other.difference != 0
        assert (one.low, one.high, one.p) == pytest.approx((-other.high, -other.low, other.p))
        assert one.low < one.difference < one.high
        assert (one.n, one.cry_groups, one.other_groups) == (60, 10, 10)


def test_a_clear_gain_is_shown_and_equal_scores_are_not():
    labels, first, second, names = case(4, groups=60, gain=3.0, noise=0.3)
    found = paired_differences(labels, first, second, names)["auc"]
    assert found.low > 0 and found.p < 0.001 and found.decidable
    same = paired_differences(labels, first, first, names)["auc"]
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_pairing_sees_what_two_intervals_do_not():
    """Recordings differ far more than detectors do: unpaired, the difference drowns."""
    labels, first, _, names = case(5, groups=60)
    second = first + 0.25 * labels
    found = paired_differences(labels, first, second, names)["auc"]
    assert found.p < 0.01
    drawn = [group_draws(labels, scores, names, 0, DRAWS) for scores in (first, second)]
    unpaired = drawn[1][: len(drawn[1]) // 2, 0] - drawn[0][len(drawn[0]) // 2 :, 0]
    assert np.quantile(unpaired, 0.025) < 0 < found.low


def test_without_a_difference_few_tests_say_there_is_one(monkeypatch):
    monkeypatch.setattr(paired, "DRAWS", 400)
    told = [paired_differences(*case(seed, groups=40))["auc"].p < 0.05 for seed in range(100, 300)]
    assert 0 < np.mean(told) < 0.12  # 0.05, and somewhat more with 20 groups a class


def test_few_groups_give_no_decision():
    one = paired_differences(*case(6, groups=2))["auc"]
    assert (one.low, one.high, one.p, one.decidable) == (None, None, None, False)
    some = paired_differences(*case(6, groups=8))["auc"]
    assert some.p is not None and not some.decidable
    assert paired_differences(*case(6, groups=10))["auc"].decidable


def test_the_same_inputs_give_the_same_numbers():
    assert paired_differences(*case(7)) == paired_differences(*case(7))
    assert paired_differences(*case(7)) != paired_differences(*case(7), seed=1)


def test_both_classes_are_needed():
    with pytest.raises(ValueError, match="both needed"):
        paired_differences(np.ones(4, bool), np.arange(4), np.arange(4), np.arange(4))


def test_mcnemar_by_hand():
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 0], dtype=bool)
    second = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1, 0], dtype=bool)
    found = mcnemar(first, second)
    assert (found.n, found.first_right, found.second_right) == (10, 7, 3)
    assert (found.only_first, found.only_second) == (5, 1)
    # 2 * (C(6, 0) + C(6, 1)) / 2 ** 6
    assert found.p == pytest.approx(2 * 7 / 64)
    assert mcnemar(first, first).p == 1.0


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == [] and holm([None]) == [None]
