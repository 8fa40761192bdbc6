"""The trend against values worked by hand and simulation, grown timelines against new ones."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from crywatch.core.errors import ConfigError, TableError
from crywatch.infants.timeline.analysis import analyse, extend
from crywatch.infants.timeline.changes import find_changes
from crywatch.infants.timeline.config import ChangesConfig, CusumConfig
from crywatch.infants.timeline.episodes import combined_p, find_episodes
from crywatch.infants.timeline.limits import cusum_limit, highest_evidence, simulate_unchanged
from crywatch.infants.timeline.standard import deviates, standardise
from crywatch.infants.timeline.summary import UNUSUAL, USUAL, summarise
from crywatch.infants.timeline.trend import DAY_S, Reading, TrendState, advance
from tests.helpers.timeline_cases import CONFIG, infant, together

SEED = 1


def walk(readings, config=CONFIG):
    """Standings after (session, day, z) readings of new, promised recordings."""
    state, out = TrendState(), []
    for session, day, z in readings:
        out.append(advance(state, Reading(session, day * DAY_S, z, 20, 1, True), config, SEED))
        state = out[-1].state
    return out


def one(followed, bands, config=CONFIG):
    (timeline,) = analyse(followed, bands, config, SEED)
    return timeline


def test_ewma_and_cusum_as_worked_by_hand():
    # A half-life of 7 days and sessions 7 days apart: weights 1, 1/2, 1/4.
    got = walk([("a", 0, 1.0), ("b", 7, 2.0), ("b", 7.01, 4.0), ("c", 14, 0.0)])
    assert [now.ewma for now in got] == pytest.approx(
        [1.0, (2 + 0.5) / 1.5, (3 + 0.5) / 1.5, (0 + 1.5 + 0.25) / 1.75]
    )
    spread = math.sqrt((1 + 0.25 + 0.0625) / 1.75**2 + 1 / 20)
    assert got[-1].ewma_limit == pytest.approx(CONFIG.ewma.width * spread)
    # The reference is 0.75: 0.25, then the session's mean of 3 in place of its first 2.
    limit = cusum_limit(20, 1, CONFIG.cusum, SEED)
    assert 1.5 < limit < 3.25
    assert [now.cusum for now in got] == pytest.approx([0.25, 1.5, 2.5, 1.75])
    assert [now.cusum_limit for now in got] == [limit] * 4


def test_cusum_stops_one_above_its_limit_and_comes_back_with_usual_sessions():
    got = walk([(str(n), n, 2.0 if n < 10 else 0.0) for n in range(15)])
    limit = got[0].cusum_limit
    assert max(now.cusum for now in got) == limit + 1 == got[9].cusum
    assert [now.cusum > limit for now in got[9:13]] == [True, True, False, False]


def test_a_limit_that_falls_with_a_new_version_is_no_alarm():
    # Few sessions of many recordings have a higher limit than many of one.
    high, low = (cusum_limit(*known, CONFIG.cusum, SEED) for known in ((6, 5), (40, 1)))
    assert high > low + 0.1
    state, got = TrendState(), []
    for number, known in enumerate([(6, 5)] * 2 + [(40, 1)] * 6):
        z = 1.5 if number < 3 else 0.0
        reading = Reading(str(number), DAY_S * number, z, *known, True)
        now = advance(state, reading, CONFIG, SEED)
        state = now.state
        got.append(now.cusum_limit)
    # S is 0.75, 1.5, 2.25, 1.5, 0.75, 0: from zero on the new version's own holds.
    assert got == [high] * 6 + [low] * 2


def test_the_line_begins_anew_after_a_gap_and_the_evidence_does_not():
    days = [0, 1, 2, 2 + CONFIG.gap_days + 1]
    got = walk([(str(day), day, 1.5) for day in days[:3]] + [("late", days[3], -1.0)])
    assert got[3].ewma == -1.0
    assert got[3].gap_days == CONFIG.gap_days + 1
    assert got[3].cusum == pytest.approx(3 * 0.75 - 1.75)
    near = walk([("a", 0, 1.0), ("b", CONFIG.gap_days, -1.0)])
    assert near[1].ewma > -1.0


def test_unscored_recordings_move_nothing():
    got = walk([("a", 0, 1.0), ("b", 1, math.nan), ("c", 2, 1.0)])
    plain = walk([("a", 0, 1.0), ("c", 2, 1.0)])
    assert math.isnan(got[1].ewma) and got[1].cusum == got[0].cusum
    assert got[2].ewma == pytest.approx(plain[1].ewma)
    assert got[2].cusum == pytest.approx(plain[1].cusum)


def test_ewma_is_the_plain_weighted_mean_of_all_sessions():
    timeline = one(*infant(baseline=12, new=15, a_session=3, days=1.7))
    sessions = timeline.sessions
    begin = sessions["begin"].astype("int64").to_numpy() / 1e9 / DAY_S
    for row in range(len(sessions)):
        age = begin[row] - begin[: row + 1]
        weight = 0.5 ** (age / CONFIG.ewma.half_life_days)
        wanted = (weight * sessions["z"].to_numpy()[: row + 1]).sum() / weight.sum()
        assert sessions["ewma"].iloc[row] == pytest.approx(wanted)


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 79), max_size=4, unique=True),
    a_session=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_a_timeline_that_grew_equals_one_made_at_once(cuts, a_session, seed):
    followed, bands = infant(
        baseline=10,
        new=20,
        a_session=a_session,
        shift=2.0,
        shift_from=9,
        gap_after=6,
        versions={4: (2.0, 1.0), 12: (0.5, -3.0)},
        seed=seed,
    )
    whole = one(followed, bands)
    base = 10 * a_session
    marks = [base, *sorted(base + cut for cut in cuts if cut < 20 * a_session), len(followed)]
    grown = one(followed.iloc[:base], bands)
    for first, last in pairwise(marks):
        grown = extend(grown, followed.iloc[first:last], bands, CONFIG, SEED)
    pd.testing.assert_frame_equal(grown.recordings, whole.recordings, check_exact=True)
    pd.testing.assert_frame_equal(grown.sessions, whole.sessions, check_exact=True)
    assert grown.state == whole.state


def test_what_cannot_be_added_is_refused():
    followed, bands = infant(new=5)
    timeline = one(followed.iloc[:22], bands)
    with pytest.raises(TableError, match="analyse all recordings again"):
        extend(timeline, followed.iloc[3:4], bands, CONFIG, SEED)
    with pytest.raises(TableError, match="not all rows are of infant a"):
        extend(timeline, infant("b")[0].iloc[-1:], bands, CONFIG, SEED)
    with pytest.raises(TableError, match="no band of version 7, which scored made/a-024-0"):
        analyse(followed.assign(version=[0] * 24 + [7]), bands, CONFIG, SEED)
    with pytest.raises(TableError, match="infant a has none"):
        analyse(followed, bands.iloc[:0], CONFIG, SEED)
    assert extend(timeline, followed.iloc[:0], bands, CONFIG, SEED) is timeline


def test_scales_are_free_of_versions():
    plain, plain_bands = infant(new=12, seed=3)
    moved, moved_bands = infant(new=12, seed=3, versions={3: (5.0, 100.0), 8: (0.1, -7.0)})
    assert not np.allclose(plain["score"], moved["score"])
    a, b = standardise(plain, plain_bands), standardise(moved, moved_bands)
    np.testing.assert_allclose(a.distance, b.distance)
    np.testing.assert_array_equal(a.z, b.z)
    # The limit of the band is at a distance of 1.
    high = plain_bands["high"].iloc[0]
    assert standardise(plain.assign(score=high), plain_bands).distance == pytest.approx(1.0)


def test_z_is_the_normal_deviate_in_the_middle_of_each_step():
    steps = 5
    p = np.arange(1, steps + 1) / steps
    z = deviates(p, steps)
    np.testing.assert_allclose(norm.sf(z), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert z.sum() == pytest.approx(0, abs=1e-12)
    assert math.isnan(deviates(np.array([math.nan]), 5)[0])
    followed, bands = infant(baseline=4, new=1)
    got = standardise(followed, bands)
    assert sorted(norm.sf(got.z[:4])) == pytest.approx([0.125, 0.375, 0.625, 0.875])
    # A single calibration unit can tell nothing.
    blind = standardise(followed, bands.assign(reachable=1.0))
    assert math.isnan(blind.z[-1])


@pytest.mark.parametrize(("units", "alike"), [(5, 1), (9, 1), (8, 4), (20, 1), (60, 2), (200, 1)])
def test_unchanged_infants_pass_the_limit_as_seldom_as_stated(units, alike):
    config = CONFIG.cusum
    limit = cusum_limit(units, alike, config, SEED)
    fresh = simulate_unchanged(units, alike, 4000, config.run_sessions, np.random.default_rng(99))
    seen = float((highest_evidence(fresh, config.reference) > limit).mean())
    # Both sides are simulated: three standard errors of each.
    error = 3 * math.sqrt(config.share * (1 - config.share) * (1 / 4000 + 1 / config.draws))
    assert seen <= config.share + error
    if (units, alike) == (8, 4):
        # The limit for a known normal would be passed far more often by a small baseline.
        known = cusum_limit(500, 1, config, SEED)
        assert (highest_evidence(fresh, config.reference) > known).mean() > 1.5 * config.share


def test_a_planted_shift_is_found_soon_and_nothing_where_nothing_changed():
    changed = [infant(f"c{n}", baseline=20, new=20, shift=2.5, shift_from=10) for n in range(12)]
    same = [infant(f"s{n}", baseline=20, new=30, seed=5) for n in range(60)]
    timelines = analyse(*together(*changed, *same), CONFIG, SEED)
    delays, false, possible, points, smoothed = [], 0, 0, 0, 0
    for timeline in timelines:
        found = find_episodes(timeline, CONFIG.episodes)
        lasting = [episode for episode in found if episode.lasting]
        if timeline.infant_id.startswith("c"):
            assert lasting, timeline.infant_id
            delays.append(lasting[-1].passed_session - 30 + 1)
            assert lasting[-1].ongoing
        else:
            false += bool(lasting)
            possible += len(found) - len(lasting)
            sessions = timeline.sessions
            smoothed += bool((sessions["ewma"] > sessions["ewma_limit"]).any())
            points += bool(find_changes(timeline.sessions, CONFIG.changes).points)
    # Of the sessions from the change on, the one in which the evidence passed.
    assert 2 <= np.median(delays) <= 5
    # 60 infants at a share of 0.1: above 12 has a probability below 0.02.
    assert false <= 12
    assert possible <= 6 and points <= 9 and smoothed <= 6


def test_recordings_of_one_session_that_are_alike_are_one_piece_of_evidence():
    followed, bands = infant(baseline=20, new=2, a_session=1)
    last = followed.iloc[-1:]
    many = pd.concat([followed.iloc[:-1]] + [last.assign(clip_id=f"n{n}") for n in range(30)])
    single, repeated = one(followed, bands), one(many, bands)
    columns = ["z", "ewma", "cusum", "cusum_limit"]
    pd.testing.assert_frame_equal(single.sessions[columns], repeated.sessions[columns])


def test_nothing_is_said_where_nothing_is_promised():
    timeline = one(*infant(baseline=5, new=10, shift=5.0, shift_from=0))
    new = timeline.sessions["phase"] == "new"
    assert timeline.sessions[["ewma_limit", "cusum", "cusum_limit"]].isna().all(axis=None)
    assert timeline.sessions.loc[new, "ewma"].notna().all()
    assert find_episodes(timeline, CONFIG.episodes) == ()


def test_few_sessions_are_not_guessed_at():
    timeline = one(*infant(baseline=4, new=3))
    changes = find_changes(timeline.sessions, CONFIG.changes)
    assert changes.points == ()
    assert "too few sessions" in changes.reason and "7 with a score" in changes.reason


def test_a_change_point_is_where_the_level_moved():
    timeline = one(*infant(baseline=12, new=12, shift=4.0, shift_from=6))
    (point,) = find_changes(timeline.sessions, CONFIG.changes).points
    assert abs(point.session - 18) <= 1 and point.rose
    back = timeline.sessions.assign(z=-timeline.sessions["z"])
    assert not find_changes(back, CONFIG.changes).points[0].rose


def test_change_points_on_noise_are_rare():
    rng = np.random.default_rng(5)
    for size in (8, 20, 38):
        found = 0
        for _ in range(150):
            sessions = pd.DataFrame({"z": rng.standard_normal(size), "session": range(size)})
            sessions["begin"] = pd.Timestamp("2025-01-01", tz="UTC")
            found += bool(find_changes(sessions, CONFIG.changes).points)
        assert found <= 15  # a tenth


def test_an_episode_is_told_with_its_ends_and_its_sureness():
    followed, bands = infant(baseline=20, new=24, seed=11)
    calm = followed.assign(p=followed["p"].where(followed["p"].isna(), 0.6), alarm=False)
    rows = calm.index[calm["phase"] == "new"]

    def with_marks(at):
        p = calm["p"].where(~calm.index.isin(rows[at]), 1 / 21)
        return one(calm.assign(p=p, alarm=calm.index.isin(rows[at])), bands)

    lasting = find_episodes(with_marks(list(range(5, 12))), CONFIG.episodes)
    assert [(e.first_session, e.last_session, e.lasting, e.ongoing) for e in lasting] == [
        (25, 31, True, False)
    ]
    assert lasting[0].marked == lasting[0].recordings == 7
    assert lasting[0].lowest_p == pytest.approx(1 / 21)
    assert find_episodes(with_marks([5, 15]), CONFIG.episodes) == ()
    loose = replace(CONFIG.episodes, level=0.2)
    (possible,) = find_episodes(with_marks([5, 7]), loose)
    assert (possible.first_session, possible.last_session) == (25, 27)
    assert not possible.lasting and possible.passed_session is None
    assert find_episodes(with_marks([5, 8]), loose) == ()  # two usual ones between
    # Up to the latest session a stretch is told although so few cannot reach the level.
    (latest,) = find_episodes(with_marks([22, 23]), CONFIG.episodes)
    assert latest.ongoing and not latest.lasting and latest.combined_p > CONFIG.episodes.level
    assert summarise(with_marks([22, 23]), CONFIG).status == UNUSUAL
    assert summarise(with_marks([21, 22]), CONFIG).status == USUAL


def test_combined_p_keeps_its_level_although_the_calibration_is_shared():
    rng = np.random.default_rng(3)
    units, sessions, draws, level = 20, 100, 1500, 0.05
    corrected = plain = 0
    for _ in range(draws):
        known, new = rng.random(units), rng.random(sessions)
        p = (1 + (known[None] >= new[:, None]).sum(axis=1)) / (units + 1)
        corrected += combined_p(p, units) <= level
        plain += combined_p(p, 10**9) <= level
    assert corrected / draws <= level + 3 * math.sqrt(level * (1 - level) / draws)
    assert plain / draws > level
    assert combined_p(np.array([0.5]), 10**9) == pytest.approx(0.5)
    assert combined_p(np.array([math.nan]), 5) == 1.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CusumConfig(0.5, 30, 1.5, 3000), "share 1.5"),
        (lambda: CusumConfig(0.5, 30, 0.1, 20), "draws 20 are too few"),
        (lambda: ChangesConfig(4, 3, 3.0, 200), "at least twice min_size"),
        (lambda: replace(CONFIG, gap_days=0.0), "gap_days"),
        (lambda: replace(CONFIG.page, max_infants=0), "max_infants"),
        (lambda: replace(CONFIG.ewma, half_life_days=-1.0), "half_life_days"),
        (lambda: replace(CONFIG.episodes, level=0.0), "level"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()
