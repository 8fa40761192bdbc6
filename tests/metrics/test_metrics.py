"""Metrics against slow, obvious references."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.metrics.curves import (
    BinaryMetrics,
    binary_metrics,
    max_f1,
    precision_recall,
    recall_at,
    roc,
)
from crywatch.metrics.rows import flat

# Few levels, so that ties within and between the classes are the rule.
LEVELS = st.integers(0, 8).map(lambda level: level / 8)
SCORED = st.lists(st.tuples(st.booleans(), LEVELS), min_size=1, max_size=40)
BOTH = SCORED.filter(lambda rows: len({label for label, _ in rows}) == 2)
fast = settings(max_examples=60, deadline=None)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in rows]), np.array([score for _, score in rows])


def counts(labels, scores, threshold) -> tuple[int, int, int, int]:
    """Hits, false alarms, misses, correct rejections: one row at a time."""
    hits = alarms = misses = rejections = 0
    for label, score in zip(labels, scores, strict=True):
        called = score >= threshold
        hits += called and label
        alarms += called and not label
        misses += not called and label
        rejections += not called and not label
    return hits, alarms, misses, rejections


def slow_auc(labels, scores) -> float:
    """The share of pairs in order; a tie is half a pair."""
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels] for n in scores[~labels]]
    return sum(pairs) / len(pairs)


def slow_average_precision(labels, scores) -> float:
    """Precision at every threshold, weighted by the recall it adds."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        hits, alarms, misses, _ = counts(labels, scores, threshold)
        recall = hits / (hits + misses)
        total += (recall - before) * hits / (hits + alarms)
        before = recall
    return total


def slow_max_f1(labels, scores) -> tuple[float, float]:
    best = (-1.0, 0.0)
    for threshold in sorted(set(scores), reverse=True):
        hits, alarms, misses, _ = counts(labels, scores, threshold)
        f1 = 2 * hits / (2 * hits + alarms + misses)
        if f1 > best[0] + 1e-12:
            best = (f1, threshold)
    return best


def slow_recall_at(labels, scores, rate) -> float:
    best = 0.0
    for threshold in set(scores):
        hits, alarms, misses, rejections = counts(labels, scores, threshold)
        if alarms / (alarms + rejections) <= rate:
            best = max(best, hits / (hits + misses))
    return best


@fast
@given(BOTH)
def test_auc_is_the_share_of_pairs_in_order(rows):
    labels, scores = arrays(rows)
    assert binary_metrics(labels, scores, 0.5).auc == pytest.approx(slow_auc(labels, scores))


@fast
@given(BOTH)
def test_average_precision(rows):
    labels, scores = arrays(rows)
    found = binary_metrics(labels, scores, 0.5).average_precision
    assert found == pytest.approx(slow_average_precision(labels, scores))


@fast
@given(BOTH)
def test_highest_f1_and_accuracy_there(rows):
    labels, scores = arrays(rows)
    f1, threshold = slow_max_f1(labels, scores)
    found = binary_metrics(labels, scores, 0.5)
    assert found.f1_max == pytest.approx(f1)
    assert found.f1_threshold == threshold
    assert found.f1_accuracy == pytest.approx(np.mean((scores >= threshold) == labels))


@fast
@given(SCORED, st.integers(0, 9).map(lambda level: level / 8))
def test_decisions_at_a_threshold(rows, threshold):
    labels, scores = arrays(rows)
    hits, alarms, misses, rejections = counts(labels, scores, threshold)
    found = binary_metrics(labels, scores, threshold)
    assert (found.n, found.n_cry) == (len(rows), hits + misses)
    assert found.accuracy == pytest.approx((hits + rejections) / len(rows))
    for value, part, whole in (
        (found.precision, hits, hits + alarms),
        (found.recall, hits, hits + misses),
        (found.false_alarm_rate, alarms, alarms + rejections),
    ):
        assert value == (pytest.approx(part / whole) if whole else None)


@fast
@given(BOTH, st.sampled_from([0.0, 0.01, 0.2, 0.5, 1.0]))
def test_recall_at_a_false_alarm_rate(rows, rate):
    labels, scores = arrays(rows)
    assert recall_at(labels, scores, rate) == pytest.approx(slow_recall_at(labels, scores, rate))


def test_recall_at_a_false_alarm_rate_between_two_ties():
    # Every score is that of one cry and one other: the curve is a straight line, and the point at
    # the rate lies inside it.
    labels, scores = np.tile([False, True], 300), np.repeat(np.arange(300) / 300, 2)
    assert recall_at(labels, scores, 0.01) == pytest.approx(0.01)


def test_values_worked_by_hand():
    labels = np.array([True, True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.1])
    found = binary_metrics(labels, scores, 0.5)
    assert found == BinaryMetrics(
        n=6,
        n_cry=3,
        accuracy=pytest.approx(4 / 6),
        precision=pytest.approx(2 / 3),
        recall=pytest.approx(2 / 3),
        false_alarm_rate=pytest.approx(1 / 3),
        auc=pytest.approx(8 / 9),
        average_precision=pytest.approx((1 + 1 + 3 / 4) / 3),
        recall_at_1pct=pytest.approx(2 / 3),
        f1_max=pytest.approx(6 / 7),
        f1_threshold=0.4,
        f1_accuracy=pytest.approx(5 / 6),
    )


def test_a_score_at_the_threshold_is_a_cry():
    found = binary_metrics(np.array([True, False]), np.array([0.5, 0.5]), 0.5)
    assert (found.recall, found.false_alarm_rate, found.accuracy) == (1.0, 1.0, 0.5)


def test_the_higher_threshold_where_f1_is_equal():
    # F1 is 2/3 at both 0.9 (one of two, no alarm) and 0.2 (two of two, two alarms).
    labels, scores = np.array([True, False, False, True]), np.array([0.9, 0.6, 0.5, 0.2])
    assert max_f1(labels, scores).threshold == 0.9


@pytest.mark.parametrize("label", [True, False])
def test_one_class_has_no_ranking(label):
    found = binary_metrics(np.full(4, label), np.array([0.1, 0.4, 0.6, 0.9]), 0.5)
    assert (found.auc, found.average_precision, found.recall_at_1pct) == (None, None, None)
    assert found.accuracy == 0.5
    assert (found.recall is None, found.false_alarm_rate is None) == (not label, label)
    assert found.f1_max == (1.0 if label else None)
    # JSON has null for what is not defined, never NaN.
    assert json.loads(json.dumps(flat(found), allow_nan=False))["auc"] is None


def test_no_rows_have_no_metrics():
    values = flat(binary_metrics(np.array([], dtype=bool), np.array([]), 0.5))
    assert (values.pop("n"), values.pop("n_cry")) == (0, 0)
    assert set(values.values()) == {None}


@fast
@given(BOTH)
def test_points_of_the_curves(rows):
    labels, scores = arrays(rows)
    curve = roc(labels, scores)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    for x, y, threshold in zip(curve.x, curve.y, curve.thresholds, strict=True):
        hits, alarms, misses, rejections = counts(labels, scores, threshold)
        assert (x, y) == pytest.approx((alarms / (alarms + rejections), hits / (hits + misses)))
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(slow_auc(labels, scores))

    curve = precision_recall(labels, scores)
    assert (curve.x[-1], curve.y[-1]) == (0, 1)  # by convention, at no threshold
    for x, y, threshold in zip(curve.x, curve.y, curve.thresholds, strict=False):
        hits, alarms, misses, _ = counts(labels, scores, threshold)
        assert (x, y) == pytest.approx((hits / (hits + misses), hits / (hits + alarms)))
