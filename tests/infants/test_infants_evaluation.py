"""Baselines are earlier than tests, and the table says what was promised and seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from crywatch.core import params
from crywatch.core.errors import ConfigError, TableError
from crywatch.infants.conformal import judge
from crywatch.infants.embedded_cries import ChangedClips, InfantClips, ShiftedClips
from crywatch.infants.evaluation.baselines import EvaluationConfig, evaluate
from crywatch.infants.evaluation.division import DivisionConfig, divide
from crywatch.infants.evaluation.results import InfantResult, Rate, over_twice, summarise
from crywatch.infants.fit_infants import FitInfantsConfig
from crywatch.infants.models.cosine import Cosine, unit
from tests.helpers import infants_cases as cases
from tests.helpers.embedded_cases import fit_config

DIM = 32


def division(**changes) -> DivisionConfig:
    given = {
        "baseline_share": 0.6,
        "least_baseline_sessions": 2,
        "least_baseline_clips": 2,
        "least_test_clips": 1,
    }
    return DivisionConfig(**given | changes)


def config(positives: int = 50, **changes) -> EvaluationConfig:
    return EvaluationConfig(division(**changes), positives)


def babies(count, sessions=12, clips=4, seed=0, spread=1.0) -> list[InfantClips]:
    """Infants with shifted copies: one far from normal, one (a control) as normal as can be."""
    out = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        n = sessions * clips
        centre = rng.standard_normal(DIM)
        own = unit(centre + spread * rng.standard_normal((n, DIM))).astype(np.float32)
        sick = unit(centre[::-1] + spread * rng.standard_normal((n, DIM))).astype(np.float32)
        again = unit(centre + spread * rng.standard_normal((n, DIM))).astype(np.float32)
        rows = np.arange(n)
        shifted = (
            ShiftedClips("pitch +40 %", False, rows, sick),
            ShiftedClips("noise 20 dB", True, rows, again),
        )
        times = np.datetime64("2025-03-01") + (rows // clips).astype("timedelta64[D]")
        times = times.astype("datetime64[s]") + (rows % clips).astype("timedelta64[s]")
        out.append(InfantClips(f"infant{number}", own, rows // clips, times, shifted))
    return out


@settings(max_examples=80, deadline=None)
@given(
    # A session is a tenth of the time or so: some overlap, some meet, most are apart.
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 11)).map(lambda p: (p[0], 10 * p[0] + p[1])),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([0.3, 0.6, 0.8]),
)
def test_the_baseline_is_earlier_and_no_session_is_on_both_sides(clips, share):
    sessions, times = (np.array(part) for part in zip(*clips, strict=True))
    found = divide(sessions, times, division(baseline_share=share))
    if not found.usable:
        assert len(found.baseline) == len(found.test) == 0
        assert "leave no border in time" in found.reason
        return
    assert times[found.baseline].max() < times[found.test].min()
    assert not set(sessions[found.baseline]) & set(sessions[found.test])
    assert sorted([*found.baseline, *found.test]) == list(range(len(clips)))
    assert (np.diff(times[found.baseline]) >= 0).all()


def test_the_border_nearest_to_the_share_is_taken():
    sessions = np.repeat(list("abcde"), [2, 2, 2, 2, 2])
    found = divide(sessions, np.arange(10.0), division())
    assert found.baseline.tolist() == [0, 1, 2, 3, 4, 5]
    # Not in the order of the table, but of time.
    found = divide(sessions[::-1], np.arange(10.0)[::-1], division())
    assert found.baseline.tolist() == [9, 8, 7, 6, 5, 4]
    # The last baseline clip and the first test clip are never of the same moment.
    times = np.array([0, 1, 2, 3, 4, 5, 5, 7, 8, 9])
    assert len(divide(sessions, times, division()).baseline) in (4, 8)
    # The third session goes on into the fourth.
    times = np.array([0, 1, 2, 3, 4, 6, 5, 7, 8, 9])
    assert len(divide(sessions, times, division()).baseline) in (4, 8)


def test_too_few_sessions_and_missing_times_are_said():
    two = np.array(["a", "a", "b", "b"])
    assert "4 clips in 2 session(s)" in divide(two, np.arange(4), division()).reason
    assert divide(two, np.arange(4), division(least_baseline_sessions=1)).usable
    times = np.array(["2025-01-01", "NaT", "2025-01-03", "2025-01-04"], dtype="datetime64[D]")
    assert "1 of 4 clips have no time" in divide(two, times, division()).reason
    assert "2 of 4" in divide(two, np.array([1.0, np.nan, np.nan, 2.0]), division()).reason
    three = np.array(["a", "b", "c"])
    assert "3 clips" in divide(three, np.arange(3), division(least_test_clips=2)).reason
    with pytest.raises(TableError, match="3 sessions for 2 times"):
        divide(three, np.arange(2), division())
    with pytest.raises(ConfigError, match="baseline_share 1"):
        division(baseline_share=1)


def test_the_table_of_infants_that_keep_the_promise():
    found = evaluate(Cosine(), babies(40), cases.conformal(), config(), seed=1)
    summary = found.summary
    assert len(found.rows) == summary.infants == summary.promised == 40
    assert found.unusable == ()
    for row in found.rows:
        assert (row.baseline_clips, row.test_clips, row.recordings) == (28, 20, 48)
        assert (row.baseline_sessions, row.test_sessions, row.positives) == (7, 5, 50)
        assert row.false_alarm_low <= row.false_alarm_rate <= row.false_alarm_high
        assert row.false_alarm_rate == row.alarms / 20 and row.rate_promised == 0.1
        assert row.detected["pitch +40 %"] > 0.8
    assert summary.means["auc"].mean > 0.99 and summary.means["auc"].infants == 40
    assert summary.means["recall"].mean > 0.95
    # 28 clips cannot tell 0.1 from 2/29.
    assert all(row.rate_expected == pytest.approx(2 / 29) for row in found.rows)
    assert summary.rate_pooled_low < 2 / 29 < summary.rate_pooled_high < 0.1
    assert summary.over_twice <= 0.15 and 0.03 < summary.over_twice_by_chance < 0.06
    assert summary.worst == max(row.false_alarm_rate for row in found.rows)
    assert set(summary.detected) == {"pitch +40 %"} and set(summary.controls) == {"noise 20 dB"}
    assert summary.detected["pitch +40 %"].mean > 0.95
    assert summary.controls["noise 20 dB"].mean == pytest.approx(2 / 29, abs=0.03)


def test_smoothed_the_mean_rate_seen_is_the_rate_promised():
    smoothed = cases.conformal(smoothed=True)
    summary = evaluate(Cosine(), babies(40), smoothed, config(), seed=1).summary
    assert summary.rate_seen == pytest.approx(0.1, abs=0.03)
    assert summary.rate_pooled_low < 0.1 < summary.rate_pooled_high
    assert summary.controls["noise 20 dB"].mean == pytest.approx(0.1, abs=0.03)


def test_a_broken_promise_shows():
    """Infants whose later sessions are unlike the earlier ones."""
    drifting = []
    for infant in babies(10):
        vectors = infant.vectors.copy()
        vectors[28:] += np.linspace(-0.5, 0.5, DIM, dtype=np.float32)
        drifting.append(InfantClips(infant.infant_id, vectors, infant.sessions, infant.times))
    summary = evaluate(Cosine(), drifting, cases.conformal(), config(), seed=1).summary
    assert summary.rate_seen > 0.5 and summary.over_twice > 0.5
    assert summary.rate_pooled_low > 0.1


def test_one_row_against_hand_counts():
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    from crywatch.infants.conformal import calibrate
    from crywatch.infants.models.contract import Baseline

    infants = babies(3, spread=3.0)
    row = evaluate(Cosine(), infants, cases.conformal(), config(40), seed=1).rows[1]
    own = infants[1]
    baseline = Baseline("b", own.vectors[:28], own.sessions[:28])
    calibrated = calibrate(Cosine(), [baseline], cases.conformal())
    # With 40 positives wanted of 2 x 20 test clips, they are all of them.
    others = np.concatenate([infants[0].vectors[28:], infants[2].vectors[28:]])
    new = np.concatenate([own.vectors[28:], others])
    judged = judge(Cosine(), calibrated, [new])[0]
    labels = np.arange(60) >= 20
    assert row.positives == 40
    assert row.auc == pytest.approx(roc_auc_score(labels, judged.scores))
    assert row.average_precision == pytest.approx(average_precision_score(labels, judged.scores))
    assert row.f1 == pytest.approx(f1_score(labels, judged.alarms))
    assert row.recall == pytest.approx(judged.alarms[20:].mean())
    assert row.false_alarm_rate == pytest.approx(judged.alarms[:20].mean())
    sick = judge(Cosine(), calibrated, [own.shifted[0].vectors[28:]])[0]
    assert row.detected["pitch +40 %"] == pytest.approx(sick.alarms.mean())


def test_changed_recordings_are_positives_of_their_own():
    """In no baseline and no false alarm; those of the time of the baseline are left out."""
    plain = babies(4)
    infants = []
    for infant in plain:
        later = np.arange(48) >= 40
        sick = infant.shifted[0].vectors[later]
        early = sick[:3], np.repeat(infant.times[0], 3)
        changed = (
            ChangedClips("planted", sick, infant.times[later]),
            ChangedClips("early", *early),
            ChangedClips(
                "both",
                np.concatenate([early[0], infant.vectors[40:44]]),
                np.concatenate([early[1], infant.times[40:44]]),
            ),
        )
        infants.append(replace(infant, changed=changed))
    found = evaluate(Cosine(), infants, cases.conformal(), config(), seed=1)
    without = evaluate(Cosine(), plain, cases.conformal(), config(), seed=1)
    for row, same in zip(found.rows, without.rows, strict=True):
        assert row.changed_clips == {"planted": 8, "early": 0, "both": 4}
        assert row.changed["planted"] > 0.8 and "early" not in row.changed
        # Four of its own normal clips.
        assert row.changed["both"] <= row.alarms / 4
        assert replace(row, changed={}, changed_clips={}) == same
    assert set(found.summary.changed) == {"planted", "both"}
    assert found.summary.changed["planted"].infants == 4
    assert without.summary.changed == {}


def test_what_was_calibrated_is_given_back():
    few = babies(1, sessions=1)
    infants = [*babies(2), replace(few[0], infant_id="one session")]
    found = evaluate(Cosine(), infants, cases.conformal(), config(), seed=1)
    assert [one.infant_id for one in found.calibrated] == ["infant0", "infant1"]
    judged = judge(Cosine(), found.calibrated, [infant.vectors[28:] for infant in infants[:2]])
    assert [int(one.alarms.sum()) for one in judged] == [row.alarms for row in found.rows]


def test_what_cannot_be_promised_stays_empty_and_what_cannot_be_divided_is_named():
    infants = [*babies(2), *babies(1, sessions=4, clips=2, seed=5), *babies(1, 1, 6, seed=6)]
    for number, infant in enumerate(infants):
        infants[number] = InfantClips(f"i{number}", *list(vars(infant).values())[1:])
    found = evaluate(Cosine(), infants, cases.conformal(), config(), seed=1)
    assert [row.infant_id for row in found.rows] == ["i0", "i1", "i2"]
    assert [one.infant_id for one in found.unusable] == ["i3"]
    assert "6 clips in 1 session(s)" in found.unusable[0].reason
    few = found.rows[2]
    assert not few.promised and few.rate_promised is None and few.detected == {}
    assert few.f1 is few.recall is few.false_alarm_rate is few.false_alarm_high is None
    assert few.auc is not None and few.reason.startswith("4 clips cannot reach 0.1")
    assert few.rate_reachable == 0.2
    assert found.summary.infants == 3 and found.summary.promised == 2
    assert found.summary.means["auc"].infants == 3 and found.summary.means["f1"].infants == 2


def test_nobody_and_alone():
    empty = evaluate(Cosine(), [], cases.conformal(), config(), seed=1)
    assert empty.rows == () and empty.summary.rate_seen is None and empty.summary.means == {}
    alone = evaluate(Cosine(), babies(1), cases.conformal(), config(), seed=1).rows[0]
    assert alone.positives == 0 and alone.auc is None and alone.recall is None
    assert alone.false_alarm_rate is not None


def test_other_infants_are_drawn_evenly_and_by_seed():
    infants = babies(6)
    first = evaluate(Cosine(), infants, cases.conformal(), config(10), seed=1)
    again = evaluate(Cosine(), infants, cases.conformal(), config(10), seed=1)
    assert first.rows == again.rows and first.summary == again.summary
    assert all(row.positives == 10 for row in first.rows)
    other = evaluate(Cosine(), infants, cases.conformal(), config(10), seed=2)
    assert [row.recall for row in other.rows] != [] and first.rows[0].alarms == other.rows[0].alarms


def test_intervals_are_clopper_and_pearsons():
    from scipy.stats import beta

    low, high = Rate(20, 3).interval
    assert low == pytest.approx(beta.ppf(0.025, 3, 18))
    assert high == pytest.approx(beta.ppf(0.975, 4, 17))
    assert Rate(20, 0).interval[0] == 0 and Rate(0, 0).interval is None and Rate(0, 0).value is None


def test_twice_is_above_twice():
    assert not over_twice(4, 20, 0.1) and over_twice(5, 20, 0.1) and not over_twice(6, 20, 0.15)


def row(**changes) -> InfantResult:
    given = {name: None for name in InfantResult.__dataclass_fields__}
    given |= {"promised": True, "test_clips": 20, "alarms": 2, "detected": {}, "changed": {}}
    return InfantResult(**given | changes)


def test_rates_are_of_the_infants_with_a_promise():
    rows = [
        row(false_alarm_rate=0.1, detected={"a": 0.5, "b": 0.0}),
        row(false_alarm_rate=0.4, alarms=8, detected={"a": 1.0, "b": 0.2}),
        row(promised=False, alarms=0),
    ]
    summary = summarise("cosine", rows, 0.1, {"b"})
    assert summary.rate_seen == pytest.approx(0.25) and summary.rate_pooled == 0.25
    assert summary.over_twice == 0.5 and summary.worst == 0.4
    assert summary.detected["a"].mean == 0.75 and summary.detected["a"].infants == 2
    assert summary.controls["b"].deviation == pytest.approx(0.2 / 2**0.5)


def test_the_section_of_params_is_typed():
    given = fit_config(models=["cosine"])
    plain = OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(given)))
    section = params.typed(plain, FitInfantsConfig, "fit_infants")
    assert section == given
    plain.default = "mixture"
    with pytest.raises(ConfigError, match="'mixture': the default must be one of the models"):
        params.typed(plain, FitInfantsConfig, "fit_infants")
    plain.default, plain.conformal.rate = "cosine", 2
    with pytest.raises(ConfigError, match="rate 2"):
        params.typed(plain, FitInfantsConfig, "fit_infants")
