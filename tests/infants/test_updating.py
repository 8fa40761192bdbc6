"""Following infants: what moves a baseline, what does not, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crywatch.core.errors import ConfigError, ModelError
from crywatch.infants.conformal import p_values
from crywatch.infants.gate import BaselineGate, Head
from crywatch.infants.models.contract import Baseline
from crywatch.infants.models.cosine import Cosine, unit
from crywatch.infants.models.mahalanobis import Mahalanobis, MahalanobisConfig
from crywatch.infants.updating import (
    Follower,
    NormalBand,
    Observation,
    Refit,
    UpdatingConfig,
    held_since,
)
from tests.helpers.infants_cases import conformal

DIM = 24
START = datetime(2024, 1, 1, tzinfo=UTC)
PASSES = BaselineGate(cry=None, distress=None, least_p=0.02)


def updating(**changes) -> UpdatingConfig:
    given = {
        "refit_after": 4,
        "wait": 0,
        "clips": 40,
        "repeat_cosine": 0.999,
        "watch": 12,
        "hold_chance": 0.01,
    }
    return UpdatingConfig(**given | changes)


def follower(gate: BaselineGate | None = PASSES, model=None, **changes) -> Follower:
    return Follower(model or Cosine(), gate, conformal(smoothed=True), updating(**changes))


def around(centre: np.ndarray, n: int, seed, spread: float = 0.35) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(centre + spread * rng.standard_normal((n, DIM))).astype(np.float32)


def baseline(name: str, centre: np.ndarray, n: int = 40, seed=0) -> Baseline:
    return Baseline(name, around(centre, n, seed), np.array([f"b{row // 2}" for row in range(n)]))


def stream(vectors: np.ndarray, name: str = "n", per_session: int = 2) -> list[Observation]:
    return [
        Observation(
            f"{name}{row}",
            f"{name}s{row // per_session}",
            START + timedelta(days=row // per_session, minutes=row),
            vector,
        )
        for row, vector in enumerate(vectors)
    ]


def centre_of(number: int = 0) -> np.ndarray:
    return unit(np.random.default_rng([5, number]).standard_normal((1, DIM)))[0] * 2


def at(centre: np.ndarray, n: int, seed=7, **kinds) -> list[list[Observation]]:
    return [stream(around(centre, n, seed), **kinds)]


def state_bytes(state) -> list[bytes]:
    return [
        array.tobytes() for model in state.calibrated.models for _, array in sorted(model.items())
    ] + [state.calibrated.scores.tobytes(), state.baseline.vectors.tobytes()]


def alarms(observed) -> np.ndarray:
    return np.array([[one.alarm for one in each.outcomes] for each in observed])


def accepted(observed) -> np.ndarray:
    return np.array([[one.accepted for one in each.outcomes] for each in observed])


def test_what_is_refused_leaves_the_model_byte_for_byte():
    refuses = replace(PASSES, cry=Head(np.zeros(DIM, dtype=np.float32), -1.0, 0.5))
    follow = follower(refuses)
    state = follow.start([baseline("a", centre_of())])
    seen = follow.observe(state, at(centre_of(), 40))[0]
    assert not accepted([seen]).any()
    assert all(one.reason.startswith("not a cry") for one in seen.outcomes)
    assert state_bytes(seen.state) == state_bytes(state[0])
    assert (seen.state.version, seen.refits, seen.state.pending) == (0, (), ())


def test_held_since_is_the_beginning_of_the_last_hold():
    base = [baseline("a", centre_of())]
    vectors = np.concatenate([around(centre_of(), 20, 1), around(centre_of(30), 20, 2)])
    outcomes = follow_all(follower(wait=8), base, [stream(vectors)])[0].outcomes
    since = held_since(outcomes)
    assert outcomes[20].recorded_at < since < outcomes[30].recorded_at
    assert held_since(outcomes[:20]) is None and held_since(()) is None
    again = [*outcomes, replace(outcomes[0], clip_id="later")]
    assert held_since(again) is None


def test_what_is_accepted_moves_the_version():
    follow = follower(wait=0, refit_after=2)
    state = follow.start([baseline("a", centre_of())])
    seen = follow.observe(state, at(centre_of(), 6))[0]
    # The last session is not over: nothing has come after it.
    assert seen.state.version == 2 and len(seen.state.pending) == 2
    assert [one.version for one in seen.outcomes] == [0, 0, 1, 1, 2, 2]
    assert [refit.since for refit in seen.refits] == [
        seen.outcomes[2].recorded_at,
        seen.outcomes[4].recorded_at,
    ]
    assert state_bytes(seen.state) != state_bytes(state[0])
    closed = follow.refit([seen.state])[0]
    assert closed.version == 3 and not closed.pending


def test_accepted_recordings_wait():
    follow = follower(wait=6, refit_after=2)
    seen = follow.observe(follow.start([baseline("a", centre_of())]), at(centre_of(), 20))[0]
    assert len(seen.state.pending) >= 6
    known = {row.tobytes() for row in seen.state.baseline.vectors}
    assert not known & {one.vector.tobytes() for one in seen.state.pending}


def test_portions_and_company_do_not_matter():
    follow = follower(wait=4)
    two = [baseline("a", centre_of()), baseline("b", centre_of(1), seed=1)]
    streams = [stream(around(centre_of(k), 30, [3, k])) for k in range(2)]
    together = follow.observe(follow.start(two), streams)
    alone = follow.start(two[:1])
    outcomes = []
    for one in streams[0]:
        seen = follow.observe(alone, [[one]])
        outcomes += seen[0].outcomes
        alone = [seen[0].state]
    assert tuple(outcomes) == together[0].outcomes
    assert state_bytes(alone[0]) == state_bytes(together[0].state)


def test_two_runs_give_equal_bytes():
    runs = []
    for _ in range(2):
        follow = follower(model=Mahalanobis(MahalanobisConfig(1e-6)))
        state = follow.start([baseline("a", centre_of())])
        runs.append(follow.observe(state, at(centre_of(), 30))[0])
    assert runs[0].outcomes == runs[1].outcomes
    assert state_bytes(runs[0].state) == state_bytes(runs[1].state)


def test_the_buffer_keeps_the_latest_whole_sessions():
    follow = follower(gate=None, wait=0, refit_after=1, clips=11)
    state = follow.start([baseline("a", centre_of(), n=8)])
    seen = follow.observe(state, at(centre_of(), 30))[0].state
    names, counts = np.unique(seen.baseline.sessions, return_counts=True)
    assert len(seen.baseline) == 10 and set(counts) == {2}
    assert set(names) == {f"ns{number}" for number in range(9, 14)}


INFANTS = 24


def several(drift: float, jump: float, n: int = 200, hostile: int = 0):
    """Baselines and streams that move by ``drift`` over all, and by ``jump`` at half."""
    two = [centre_of(k) for k in range(INFANTS)]
    off = [unit(np.random.default_rng([8, k]).standard_normal((1, DIM)))[0] for k in range(INFANTS)]
    share = np.arange(n)[:, None] / n
    streams = []
    for k in range(INFANTS):
        centres = two[k] + off[k] * (drift * share + jump * (share >= 0.5))
        noise = 0.35 * np.random.default_rng([9, k]).standard_normal((n, DIM))
        streams.append(stream(unit(centres + noise).astype(np.float32)))
    baselines = [baseline(f"i{k:02d}", two[k], seed=[1, k]) for k in range(INFANTS)]
    return baselines, streams


def follow_all(follow: Follower, baselines, streams):
    return follow.observe(follow.start(baselines), streams)


def test_slow_development_is_followed_and_a_frozen_model_alarms():
    data = several(drift=2.5, jump=0.0)
    gated = alarms(follow_all(follower(wait=8), *data))
    frozen = alarms(follow_all(follower(gate=None, refit_after=0), *data))
    assert gated.mean() < 0.16
    assert gated[:, -50:].mean() < 0.2
    assert frozen[:, -50:].mean() > 0.5


def test_a_jump_is_absorbed_without_the_gate_and_not_with_it():
    data = several(drift=0.0, jump=3.0)
    gated = follow_all(follower(wait=8), *data)
    ungated = follow_all(follower(gate=None, wait=8), *data)
    for found in (gated, ungated):
        assert alarms(found)[:, 100:110].mean() > 0.5
    assert alarms(gated)[:, -30:].mean() > 0.5
    assert alarms(ungated)[:, -30:].mean() < 0.2
    changed = [{one.vector.tobytes() for one in some[100:]} for some in data[1]]

    def absorbed(found) -> float:
        """Share of the buffers that came after the change."""
        return np.mean(
            [
                np.mean([row.tobytes() in late for row in one.state.baseline.vectors])
                for one, late in zip(found, changed, strict=True)
            ]
        )

    assert absorbed(gated) < 0.15 and absorbed(ungated) == 1
    # What passed before the change was noticed was waiting.
    assert np.mean([bool(one.withdrawn) for one in gated]) > 0.8


def test_nobody_changed_keeps_the_promise():
    data = several(drift=0.0, jump=0.0)
    found = follow_all(follower(wait=8), *data)
    assert alarms(found).mean() == pytest.approx(0.1, abs=0.03)
    assert alarms(found)[:, -50:].mean() == pytest.approx(0.1, abs=0.05)
    assert accepted(found).mean() > 0.9


def test_a_minimum_of_p_that_trims_inflates_alarms():
    """The trap that the settings keep away from: what is refused is missing from the next ones."""
    data = several(drift=0.0, jump=0.0, n=300)
    trims = alarms(follow_all(follower(replace(PASSES, least_p=0.1), watch=0), *data))
    kept = alarms(follow_all(follower(watch=0), *data))
    assert trims[:, -100:].mean() > kept[:, -100:].mean() + 0.1


def test_repeats_do_not_enter():
    again = around(centre_of(), 1, 11)
    vectors = np.concatenate([around(centre_of(), 10, 12), np.repeat(again, 30, axis=0)])
    base = [baseline("a", centre_of())]
    gated = follow_all(follower(wait=4), base, [stream(vectors)])[0]
    ungated = follow_all(follower(gate=None, wait=4), base, [stream(vectors)])[0]
    assert accepted([gated])[0, 10:].sum() == 1
    assert gated.outcomes[-1].reason.startswith("repeated")

    def copies(state) -> int:
        return int((unit(state.baseline.vectors) @ again[0] > 0.999).sum())

    assert copies(gated.state) <= 1 < copies(ungated.state)


def test_a_hostile_stream_draws_the_baseline_less_with_the_gate():
    base = [baseline(f"i{k}", centre_of(k), seed=[1, k]) for k in range(8)]
    streams = []
    for k in range(8):
        own, other = around(centre_of(k), 60, [2, k]), around(centre_of(k + 20), 60, [3, k])
        streams.append(stream(np.stack([own, other], axis=1).reshape(120, DIM), per_session=4))
    centres = {}
    for name, gate in (("gated", PASSES), ("ungated", None)):
        found = follow_all(follower(gate, wait=8), base, streams)
        centres[name] = [
            np.linalg.norm(one.state.baseline.vectors.mean(0) - before.vectors.mean(0))
            for one, before in zip(found, base, strict=True)
        ]
    assert np.mean(centres["gated"]) < 0.5 * np.mean(centres["ungated"])


def test_recordings_without_a_session_are_sessions_of_their_own():
    follow = follower(gate=None, wait=0, refit_after=1)
    new = [replace(one, session_id=None) for one in at(centre_of(), 4)[0]]
    seen = follow.observe(follow.start([baseline("a", centre_of())]), [new])[0]
    assert seen.state.version == 3
    assert [one.session_id for one in seen.outcomes] == [None] * 4


def test_the_band_ends_where_alarms_begin():
    follow = Follower(Cosine(), None, conformal(smoothed=False), updating(refit_after=0))
    state = follow.start([baseline("a", centre_of(), n=19)])[0]
    band = NormalBand.of(Refit(0, START, state.calibrated, state.baseline))
    vectors = around(centre_of(), 400, 5, spread=0.6)
    seen = follow.observe([state], [stream(vectors)])[0]
    for one in seen.outcomes:
        # Cross-conformal: each clip is held against each fold, so the border is near, not exact.
        if abs(one.score - band.high) > 0.05:
            assert one.alarm == (one.score > band.high)
    assert band.low <= band.centre <= band.high
    assert (band.clips, band.sessions, band.promised) == (19, 10, True)


def test_where_sessions_count_the_band_ends_where_alarms_begin():
    """Four sessions of four clips: 0.4 of 5 less the new one is a session, four clips."""
    follow = Follower(Cosine(), None, conformal(unit="session", rate=0.4), updating())
    base = Baseline("a", around(centre_of(), 16, 0), np.repeat(["a", "b", "c", "d"], 4))
    known = follow.start([base])[0].calibrated
    band = NormalBand.of(Refit(0, START, known, base))
    assert band.promised and band.high == np.sort(known.scores)[-5]
    new = np.array([[band.high, band.high + 1e-9]])
    p = p_values(known.scores, np.zeros(16), known.weights, new)
    assert (p <= 0.4 + 1e-12).tolist() == [False, True]


def test_a_session_that_comes_back_is_not_judged_by_a_model_that_has_heard_it():
    follow = follower(gate=None, wait=0, refit_after=2)
    new = at(centre_of(), 4)[0]
    names = ["one", "two", "one", "three"]
    new = [replace(part, session_id=name) for part, name in zip(new, names, strict=True)]
    seen = follow.observe(follow.start([baseline("a", centre_of())]), [new])[0]
    assert [one.version for one in seen.outcomes] == [0, 0, 0, 1]


def test_a_baseline_of_one_session_has_a_band_without_limits():
    one = Baseline("a", around(centre_of(), 5, 0), np.zeros(5))
    state = follower().start([one])[0]
    band = NormalBand.of(Refit(0, START, state.calibrated, one))
    assert np.isnan([band.low, band.centre, band.high]).all() and not band.promised


def test_recordings_out_of_order_are_refused():
    follow = follower()
    state = follow.start([baseline("a", centre_of())])
    new = at(centre_of(), 4)[0]
    with pytest.raises(ModelError, match="n3 is earlier|n0 is earlier|earlier than"):
        follow.observe(state, [new[::-1]])


@pytest.mark.parametrize("changes", [{"clips": 1}, {"wait": -1}, {"hold_chance": 0.0}])
def test_settings_without_sense_are_refused(changes):
    with pytest.raises(ConfigError, match="updating"):
        updating(**changes)
