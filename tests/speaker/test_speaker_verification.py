"""Error rates of scored trials against slow, obvious ones and numbers worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.core.errors import ConfigError, TableError
from crywatch.metrics.rows import flat
from crywatch.speaker.trials import TrialList
from crywatch.speaker.verification import (
    VerificationConfig,
    det_curve,
    equal_error,
    min_dcf,
    verify,
)

CONFIG = VerificationConfig(p_same=0.01, resamples=200)
fast = settings(max_examples=80, deadline=None)
# Few levels, so that ties are common.
TRIALS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(same for same, _ in rows) < len(rows)
)


def arrays(rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([same for same, _ in rows]), np.array([score for _, score in rows], dtype=float)


def slow_points(same, scores) -> list[tuple[float, float]]:
    """False alarms and misses at every threshold, strictest first."""
    points = []
    for threshold in [np.inf, *sorted(set(scores), reverse=True)]:
        called = scores >= threshold
        points.append((called[~same].mean(), (~called)[same].mean()))
    return points


def slow_eer(same, scores) -> float:
    """The crossing of the polyline with the diagonal, by bisection on each piece."""
    points = slow_points(same, scores)
    for (fa0, miss0), (fa1, miss1) in zip(points, points[1:], strict=False):
        if not fa0 <= miss0 or not fa1 >= miss1:
            continue
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            fa = fa0 + middle * (fa1 - fa0)
            miss = miss0 + middle * (miss1 - miss0)
            low, high = (middle, high) if fa < miss else (low, middle)
        return fa0 + high * (fa1 - fa0)
    raise AssertionError("the polyline ends where it began")


@fast
@given(TRIALS)
def test_operating_points_are_the_slow_ones(rows):
    same, scores = arrays(rows)
    curve = det_curve(same, scores)
    found = list(zip(curve.false_alarm, curve.miss, strict=True))
    assert found == [pytest.approx(point) for point in slow_points(same, scores)]
    assert found[0] == (0, 1) and found[-1] == (1, 0)
    assert curve.thresholds[0] == np.inf and (np.diff(curve.thresholds) < 0).all()


@fast
@given(TRIALS)
def test_the_equal_error_rate_is_the_slow_one(rows):
    same, scores = arrays(rows)
    assert equal_error(det_curve(same, scores)).rate == pytest.approx(slow_eer(same, scores))


@fast
@given(TRIALS)
def test_the_cost_is_the_slow_one(rows):
    same, scores = arrays(rows)
    config = VerificationConfig(p_same=0.2, cost_miss=3.0, cost_false_alarm=2.0)
    costs = [0.2 * 3 * miss + 0.8 * 2 * fa for fa, miss in slow_points(same, scores)]
    found = min_dcf(det_curve(same, scores), config)
    assert found == pytest.approx(min(costs) / min(0.2 * 3, 0.8 * 2))
    assert 0 <= found <= 1 + 1e-12


def test_the_equal_error_rate_of_the_roc_of_scikit_learn():
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(0)
    same = rng.random(900) < 0.3
    scores = np.round(rng.standard_normal(900) + 1.2 * same, 2)
    fa, hit, _ = roc_curve(same, scores, drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - interp1d(fa, hit)(x), 0, 1)
    assert equal_error(det_curve(same, scores)).rate == pytest.approx(expected, abs=2e-3)


def test_values_worked_by_hand():
    same = np.array([True, True, True, False, False, False, False])
    scores = np.array([0.9, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1])
    curve = det_curve(same, scores)
    # From 0.6 (a quarter, a third) to 0.4 (a half, a third): a third is reached on the way.
    error = equal_error(curve)
    assert error.rate == pytest.approx(1 / 3) and error.threshold == 0.4
    # At 0.01 a false alarm costs 99 times a miss: only 0.9 is accepted.
    assert min_dcf(curve, CONFIG) == pytest.approx(2 / 3)
    # At even costs the best is 0.3: no miss, and two of four false alarms.
    even = VerificationConfig(p_same=0.5)
    assert min_dcf(curve, even) == pytest.approx(0 + 1 / 2)


@pytest.mark.parametrize(("sign", "rate"), [(1, 0.0), (-1, 1.0)])
def test_scores_that_part_all_trials(sign, rate):
    same, scores = np.array([True, True, False]), sign * np.array([0.9, 0.8, 0.1])
    curve = det_curve(same, scores)
    assert equal_error(curve).rate == rate
    assert min_dcf(curve, CONFIG) == (0 if rate == 0 else 1)


def test_equal_scores_are_chance():
    same = np.array([True, False, False, False])
    assert equal_error(det_curve(same, np.ones(4))).rate == pytest.approx(0.5)


def test_probits_of_a_det_plot():
    curve = det_curve(np.array([True, True, False, False]), np.array([4.0, 2.0, 3.0, 1.0]))
    false_alarm, miss = curve.probit()
    assert np.isneginf(false_alarm[0]) and np.isposinf(miss[0])
    assert (false_alarm[2], miss[2]) == pytest.approx((0, 0), abs=1e-12)


# Intervals


def trials(infants: int, cries: int, seed: int, shift: float, of_infant: float = 0.0):
    """All pairs of cries; scores are noise, a shift for pairs of one infant, and the infants'."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(infants), cries)
    first, second = np.triu_indices(len(owner), 1)
    same = owner[first] == owner[second]
    own = of_infant * rng.standard_normal(infants)
    scores = rng.standard_normal(len(first)) + same * (shift + own[owner[first]])
    names = owner.astype(str)
    listed = TrialList(first.astype(str), second.astype(str), names[first], names[second], same)
    return listed, scores


def test_a_verification_gives_rates_and_intervals():
    listed, scores = trials(10, 4, 0, shift=1.5)
    found = verify(listed, scores, CONFIG, seed=0)
    assert (found.n_same, found.n_other, found.n_infants) == (60, 720, 10)
    curve = det_curve(listed.same, scores)
    assert found.eer == equal_error(curve).rate and found.min_dcf == min_dcf(curve, CONFIG)
    assert found.eer_low < found.eer < found.eer_high
    assert found.min_dcf_low <= found.min_dcf <= found.min_dcf_high
    assert found == verify(listed, scores, CONFIG, seed=0)
    assert found.eer_low != verify(listed, scores, CONFIG, seed=1).eer_low
    json.dumps(flat(found), allow_nan=False)


def test_the_order_of_trials_and_of_their_sides_does_not_matter():
    listed, scores = trials(6, 3, 1, shift=1.0)
    order = np.random.default_rng(0).permutation(len(listed))
    turned = TrialList(
        listed.second[order],
        listed.first[order],
        listed.second_infant[order],
        listed.first_infant[order],
        listed.same[order],
    )
    assert verify(turned, scores[order], CONFIG, 0) == verify(listed, scores, CONFIG, 0)


@pytest.mark.parametrize("seed", range(4))
def test_an_infant_drawn_twice_counts_as_two_infants(monkeypatch, seed):
    """One draw of the bootstrap against the same trials written out."""
    listed, scores = trials(6, 3, seed, shift=0.3)
    draw = [0, 5, 0, 3, 5, 0]  # infants 1, 2 and 4 never

    class Fixed:
        def integers(self, *_, **__):
            return np.array(draw)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Fixed())
    found = verify(listed, scores, VerificationConfig(resamples=1), 0)
    same, written = [], []
    for at, (a, b) in enumerate(zip(listed.first_infant, listed.second_infant, strict=True)):
        times = draw.count(int(a)) * (1 if a == b else draw.count(int(b)))
        same += [a == b] * times
        written += [scores[at]] * times
    expected = slow_eer(np.array(same), np.array(written))
    assert found.eer_low == found.eer_high == pytest.approx(expected)


def test_intervals_are_wider_where_infants_differ():
    """The bootstrap over trials would not see it."""

    def width(of_infant):
        listed, scores = trials(20, 5, 3, shift=1.5, of_infant=of_infant)
        found = verify(listed, scores, CONFIG, 0)
        return found.eer_high - found.eer_low

    assert width(1.5) > 1.6 * width(0.0)


def test_intervals_hold_the_true_rate_about_as_often_as_they_say():
    from scipy.stats import norm

    truth = norm.cdf(-0.75)  # two normals, 1.5 apart
    config = VerificationConfig(resamples=100)
    inside = 0
    for seed in range(60):
        found = verify(*trials(15, 3, seed + 100, shift=1.5), config, 0)
        inside += found.eer_low <= truth <= found.eer_high
    assert inside >= 49  # 57 expected; below that with a chance of 0.1 % at 95 %


def test_one_infant_has_no_interval_and_one_kind_of_trial_no_rate():
    listed, scores = trials(3, 2, 0, shift=1.0)
    rows = ~listed.same | (listed.first_infant == "0")

    def only(rows):
        return TrialList(
            listed.first[rows],
            listed.second[rows],
            listed.first_infant[rows],
            listed.second_infant[rows],
            listed.same[rows],
        ), scores[rows]

    found = verify(*only(rows), CONFIG, 0)
    assert found.eer is not None and found.eer_low is None and found.min_dcf_high is None
    for kind in (listed.same, ~listed.same):
        found = verify(*only(kind), CONFIG, 0)
        assert (found.eer, found.min_dcf, found.eer_low) == (None, None, None)
        json.dumps(flat(found), allow_nan=False)
    with pytest.raises(TableError, match="one is missing"):
        det_curve(listed.same[listed.same], scores[listed.same])


def test_what_cannot_be_scored_is_named():
    listed, scores = trials(3, 2, 0, shift=1.0)
    with pytest.raises(TableError, match=r"15 trials, but scores of shape \(3,\)"):
        verify(listed, scores[:3], CONFIG, 0)
    scores[4] = np.nan
    with pytest.raises(TableError, match=r"trial 4 \(0, 5\) has the score nan"):
        verify(listed, scores, CONFIG, 0)
    with pytest.raises(ConfigError, match="p_same is 1,"):
        verify(listed, scores, VerificationConfig(p_same=1.0), 0)


def test_two_infants_have_no_interval():
    """Every draw with pairs of both is the same: an interval of no width would look sure."""
    first = np.array(["a", "a", "b", "b"])
    second = np.array(["a", "b", "b", "a"])
    trials = TrialList(first, second, first, second, first == second)
    found = verify(trials, np.array([0.9, 0.95, 0.8, 0.1]), CONFIG, 0)
    assert found.eer is not None and found.n_infants == 2
    assert found.eer_low is None and found.min_dcf_high is None
