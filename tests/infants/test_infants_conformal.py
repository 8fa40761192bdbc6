"""The rate that is seen is the rate that is promised, and what cannot be promised is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import calibrate, judge, p_values
from crywatch.infants.models.contract import Arrays, InfantModel
from crywatch.infants.models.cosine import Cosine
from crywatch.infants.models.mahalanobis import Mahalanobis, MahalanobisConfig
from tests.helpers import infants_cases as cases

DIM = 24
CERTAIN = 0.9995  # of the two-sided binomial band: some thirty bands are looked at


class Watched(InfantModel):
    """Scores a clip by its first number and remembers what each model was fitted on."""

    name = "watched"

    def fit(self, baselines):
        self.calls = getattr(self, "calls", 0) + 1
        return [
            {"clips": baseline.vectors, "sessions": baseline.sessions} for baseline in baselines
        ]

    def score(self, models, clips):
        return [part[:, 0].astype(float) for part in clips]


def simulated(model, n, config, count, seed, session_clips=1, session_spread=0.0):
    """Alarms [count] on one new clip, of a new session, of each of ``count`` infants."""
    babies = cases.infants(
        count, n + session_clips, seed, session_clips, session_spread=session_spread, dim=DIM
    )
    # The last session is the new one, of which one clip is tested.
    known = [baby.only(np.arange(n)) for baby in babies]
    fitted = calibrate(model, known, config)
    new = [baby.vectors[n : n + 1] for baby in babies]
    alarms = np.array([one.alarms[0] for one in judge(model, fitted, new)])
    return alarms, fitted[0].promise


def band(rate: float, count: int) -> tuple[float, float]:
    tail = (1 - CERTAIN) / 2
    low, high = binom.ppf([tail, 1 - tail], count, rate) / count
    return float(low), float(high)


@pytest.mark.parametrize("model", [Cosine(), Mahalanobis(MahalanobisConfig(1e-9))], ids=type)
@pytest.mark.parametrize(
    ("n", "method"),
    [
        (5, "leave-one-out"),
        (9, "leave-one-out"),
        (19, "leave-one-out"),
        (20, "cross"),
        (38, "cross"),
        (79, "cross"),
        (200, "split"),
    ],
)
def test_the_rate_seen_is_within_the_band_of_the_rate_promised(model, n, method):
    count = max(300, min(1000, 8_000 // n))
    for rate in (0.2, 0.05):
        config = cases.conformal(rate=rate)
        alarms, promise = simulated(model, n, config, count, seed=n)
        assert promise.method == method
        assert promise.promised == (n + 1 >= 1 / rate)
        if not promise.promised:
            assert not alarms.any() and f"{n} clips cannot reach {rate:g}" in promise.reason
            continue
        assert promise.reason == "" and rate - 1 / (n + 1) < promise.expected <= rate
        low, high = band(promise.expected, count)
        assert low <= alarms.mean() <= high


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(5, 200),
    rate=st.sampled_from([0.01, 0.05, 0.1, 0.2]),
    seed=st.integers(0, 2**16),
    ties=st.booleans(),
)
def test_split_p_values_are_never_too_small(n, rate, seed, ties):
    """Any distribution, ties or none, n from 5 to 200: P(p <= rate) <= rate."""
    rng = np.random.default_rng(seed)
    count = 1000
    scores = rng.standard_cauchy((count, n + 1))
    scores = np.round(np.clip(scores, -3, 3)) if ties else scores
    p = np.array(
        [p_values(row[:n], np.zeros(n, dtype=int), np.ones(n), row[None, n:])[0] for row in scores]
    )
    alarms = int((p <= rate + 1e-9).sum())
    assert alarms <= binom.ppf(1 - 1e-6, count, rate)
    if rate < 1 / (n + 1) - 1e-9:
        assert alarms == 0
    elif not ties:
        expected = np.floor(rate * (n + 1) + 1e-9) / (n + 1)
        assert alarms >= binom.ppf(1e-6, count, expected)


@pytest.mark.parametrize("n", [12, 28, 60])
def test_smoothed_the_rate_is_kept_between_what_p_can_tell(n):
    count = max(300, 12_000 // n)
    alarms, promise = simulated(Cosine(), n, cases.conformal(smoothed=True), count, seed=n)
    assert promise.promised and promise.expected == 0.1
    low, high = band(0.1, count)
    assert low <= alarms.mean() <= high


def test_smoothing_draws_from_the_clip_and_promises_no_more():
    rng = np.random.default_rng(0)
    vectors = np.column_stack([np.full(400, 0.5), rng.standard_normal(400)])
    known = np.column_stack([np.append(np.zeros(11), 9.0), np.zeros(12)])
    baby = cases.Baseline("a", known, np.arange(12))
    model = Watched()
    found = calibrate(model, [baby], cases.conformal(smoothed=True))
    # Above 11 of 12: p is 2/13, and 0.3 of the clips on that border make the rate of 0.1.
    judged = judge(model, found, [vectors])[0]
    np.testing.assert_allclose(judged.p, 2 / 13)
    assert judged.alarms.mean() == pytest.approx(0.3, abs=0.08)
    assert np.array_equal(judge(model, found, [vectors])[0].alarms, judged.alarms)
    assert np.array_equal(judge(model, found, [vectors[5:9]])[0].alarms, judged.alarms[5:9])
    plain = calibrate(model, [baby], cases.conformal())
    assert not judge(model, plain, [vectors])[0].alarms.any()
    few = calibrate(model, [baby.only(np.arange(8))], cases.conformal(smoothed=True))
    assert not few[0].promise.promised and few[0].promise.expected == 0
    assert not judge(model, few, [vectors + 99])[0].alarms.any()


def test_sessions_that_differ_count_as_one_each():
    """Six sessions cannot promise 0.05, whatever the number of their clips."""
    count = 600

    def seen(unit, rate):
        config = cases.conformal(rate=rate, unit=unit, loo_below=100)
        sessions = {"session_clips": 10, "session_spread": 2.8}
        alarms, promise = simulated(Cosine(), 60, config, count, 3, **sessions)
        return alarms.mean(), promise

    rate, promise = seen("clip", 0.05)
    assert promise.promised and promise.units == 60
    assert rate > band(0.05, count)[1]  # a promise for clips that are as different as sessions
    rate, promise = seen("session", 0.05)
    assert rate == 0 and not promise.promised and promise.units == 6
    assert promise.reason.startswith("6 sessions cannot reach 0.05")
    rate, promise = seen("session", 0.2)
    assert promise.promised and 0 < rate <= band(0.2, count)[1]


def test_split_p_values_are_those_of_crepes():
    base = pytest.importorskip("crepes.base")
    rng = np.random.default_rng(0)
    for n in (1, 5, 60):
        scores = rng.integers(0, 20, n).astype(float)
        new = rng.integers(-2, 23, 40).astype(float)
        ours = p_values(scores, np.zeros(n, dtype=int), np.ones(n), new[None])
        theirs = base.p_values_batch(scores, new, smoothing=False)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        drawn = np.random.RandomState(4).rand(40)
        ours = p_values(scores, np.zeros(n, dtype=int), np.ones(n), new[None], drawn)
        theirs = base.p_values_batch(scores, new, smoothing=True, seed=4)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 12), st.integers(1, 4))
def test_p_values_are_those_of_a_slow_count(seed, n, folds):
    rng = np.random.default_rng(seed)
    scores, fold = rng.integers(0, 5, n).astype(float), rng.integers(folds, size=n)
    weights = rng.choice([1.0, 0.5, 0.25], n)
    new = rng.integers(-1, 6, (folds, 6)).astype(float)
    wanted = []
    for clip in range(6):
        above = sum(weights[i] for i in range(n) if scores[i] >= new[fold[i], clip])
        wanted.append((1 + above) / (1 + weights.sum()))
    np.testing.assert_allclose(p_values(scores, fold, weights, new), wanted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from([10, 20, 40, 61]))
def test_no_session_is_in_fit_and_calibration(sessions, split_from):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(sessions), 2))
    baby = cases.Baseline("a", vectors, np.array(sessions))
    config = cases.conformal(loo_below=min(20, split_from), split_from=split_from, folds=3)
    found = calibrate(Watched(), [baby], config)[0]
    if len(set(sessions)) == 1:
        assert found.promise.method == "none" and not found.promise.promised
        assert "of one session" in found.promise.reason and len(found.scores) == 0
        assert len(found.models) == 1 and len(found.models[0]["clips"]) == len(sessions)
        return
    # Scores are first numbers, so each tells which clip it is of.
    where = {value: row for row, value in enumerate(vectors[:, 0])}
    rows = [where[value] for value in found.scores]
    assert len(set(rows)) == len(rows) == found.promise.n
    for number, model in enumerate(found.models):
        left_out = {
            sessions[row] for row, fold in zip(rows, found.fold, strict=True) if fold == number
        }
        assert left_out and not left_out & set(model["sessions"].tolist())
        assert len(model["clips"]) == sum(one not in left_out for one in sessions)
    if found.promise.method != "split":
        assert len(rows) == len(sessions)


def test_methods_are_chosen_by_the_number_of_clips():
    def found(n, sessions=None):
        rng = np.random.default_rng(0)
        names = np.arange(n) if sessions is None else np.arange(n) % sessions
        baby = cases.Baseline("a", rng.standard_normal((n, 2)), names)
        one = calibrate(Watched(), [baby], cases.conformal())[0]
        return one.promise.method, len(one.models), one.promise.n

    assert found(19) == ("leave-one-out", 19, 19)
    assert found(20) == ("cross", 5, 20)
    assert found(199) == ("cross", 5, 199)
    assert found(200) == ("split", 1, 100)
    assert found(60, sessions=4) == ("leave-one-out", 4, 60)
    assert found(300, sessions=2) == ("split", 1, 150)
    assert found(1) == ("none", 1, 0)


def test_all_infants_and_folds_are_fitted_in_one_call():
    model = Watched()
    calibrate(model, cases.infants(30, (2, 40), dim=2), cases.conformal())
    assert model.calls == 1


def test_what_is_proven_is_said():
    babies = [one for n in (19, 40, 200) for one in cases.infants(1, n, dim=2, prefix=f"n{n}-")]
    loo, cross, split = (one.promise for one in calibrate(Watched(), babies, cases.conformal()))
    assert loo.proven == pytest.approx(0.2)  # jackknife+: twice the rate
    assert cross.proven == pytest.approx(0.2 + (1 - 5 / 40) / 6)  # CV+
    assert split.proven == 0.1


def test_the_reason_names_what_is_reachable_and_what_it_takes():
    baby = cases.infants(1, 8, dim=2)[0]
    promise = calibrate(Watched(), [baby], cases.conformal())[0].promise
    assert not promise.promised and promise.reachable == pytest.approx(1 / 9)
    assert promise.reason == "8 clips cannot reach 0.1: the lowest rate is 0.111; it takes 9"
    easier = calibrate(Watched(), [baby], cases.conformal(rate=promise.reachable))[0].promise
    assert easier.promised and easier.expected == pytest.approx(1 / 9)


def test_alarms_are_of_clips_beyond_the_calibration():
    baby = cases.infants(1, 30, dim=2)[0]
    model = Watched()
    found = calibrate(model, [baby], cases.conformal())
    top = baby.vectors[:, 0].max()
    judged = judge(model, found, [np.array([[top + 1, 0], [-9, 0], [top, 0]])])[0]
    np.testing.assert_allclose(judged.p, [1 / 31, 1, 2 / 31])
    assert judged.alarms.tolist() == [True, False, True]
    assert judge(model, found, [np.zeros((0, 2))])[0].p.shape == (0,)


def test_models_are_judged_by_their_own_infant():
    class Offset(Watched):
        def score(self, models, clips):
            pairs = zip(models, clips, strict=True)
            return [part[:, 0] - model["clips"][:, 0].mean() for model, part in pairs]

    rng = np.random.default_rng(1)
    babies = [
        cases.Baseline(f"i{k}", rng.standard_normal((n, 1)) + 100 * k, np.arange(n))
        for k, n in enumerate((25, 3, 12))
    ]
    model = Offset()
    found = calibrate(model, babies, cases.conformal())
    new = [np.array([[100.0 * k]]) for k in range(3)]
    together = judge(model, found, new)
    for one, clips, judged in zip(found, new, together, strict=True):
        alone = judge(model, [one], [clips])[0]
        np.testing.assert_allclose(judged.p, alone.p)
        assert abs(judged.scores[0]) < 2


def test_wrong_settings_are_named():
    for changes, said in (
        ({"rate": 0}, "rate 0"),
        ({"unit": "hour"}, "unit is 'hour'"),
        ({"folds": 1}, "folds 1"),
        ({"loo_below": 300}, "loo_below 300"),
    ):
        with pytest.raises(ConfigError, match=said):
            cases.conformal(**changes)
    baby: Arrays = cases.infants(1, 3, dim=2)[0]
    with pytest.raises(ConfigError, match="infant0000 has two baselines"):
        calibrate(Watched(), [baby, baby], cases.conformal())
