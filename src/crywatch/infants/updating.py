"""Following an infant: scoring what comes, and moving its baseline only with what the gate lets in.

An accepted recording waits until ``wait`` later ones have been accepted and its session has ended;
with at least ``refit_after`` that have, the infant is fitted and calibrated again on the latest
``clips`` recordings, and its version goes up by one. So no session is judged by a model that has
heard it, and it does not matter in which portions recordings arrive. A refused recording leaves
the model as it is.

What would spoil a baseline, and what stands against it:

- a repeated clip makes the spread shrink: a recording nearer than ``repeat_cosine`` to one that is
  known is refused;
- a change of which some recordings pass would be absorbed by them: while more of the latest
  ``watch`` recordings alarmed than chance gives, nothing enters (`HELD`), and what was waiting,
  which came while the evidence gathered, is withdrawn;
- a gate that refuses the outermost normal recordings trims the baseline, the next calibration is
  tighter, and it refuses more: a minimum of p above 1 / (``clips`` + 1) does that (stage
  simulate_year measures it), so single recordings are left to the rules above;
- a change that stays is never absorbed: that takes a person, who enrols the infant again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from crywatch.core.errors import ConfigError, ModelError
from crywatch.infants.conformal import Calibrated, ConformalConfig, Judged, calibrate, judge
from crywatch.infants.gate import Gate
from crywatch.infants.models.contract import Baseline, InfantModel
from crywatch.infants.models.cosine import unit

REPEATED, HELD, NOT_UPDATED = "repeated", "held", "the model is not updated"


@dataclass
class UpdatingConfig:
    """Section ``updating``."""

    refit_after: int  # accepted recordings that have waited; 0: the first model stays
    wait: int  # latest accepted recordings that are not taken up yet
    clips: int  # latest recordings that a model is fitted on, whole sessions
    repeat_cosine: float  # two recordings that are nearer are one
    watch: int  # latest recordings whose alarms can hold everything back; 0: none
    hold_chance: float  # of so many alarms among them in an infant that has not changed

    def __post_init__(self) -> None:
        least = self.refit_after, self.wait, self.watch, self.clips - 2
        if min(least) < 0 or not 0 < self.hold_chance < 1:
            raise ConfigError(
                "updating: refit_after, wait and watch must be at least 0, clips at least 2 and "
                "hold_chance between 0 and 1"
            )


@dataclass(frozen=True)
class Observation:
    """A new recording of an infant."""

    clip_id: str
    session_id: str | None  # None: a session of its own
    recorded_at: datetime  # with a time zone
    vector: np.ndarray  # [dim]

    @property
    def session(self) -> str:
        """The name that tells its session from others."""
        return self.session_id if self.session_id is not None else self.clip_id


@dataclass(frozen=True)
class InfantState:
    """All that must be kept of an infant between two recordings."""

    infant_id: str
    calibrated: Calibrated
    baseline: Baseline  # what the model was fitted on, in the order of time
    pending: tuple[Observation, ...] = ()  # accepted since
    version: int = 0
    recent: tuple[bool, ...] = ()  # whether the latest recordings alarmed, the oldest first


@dataclass(frozen=True)
class Outcome:
    """What came of one recording; the columns of table ``followed`` but phase and remark."""

    infant_id: str
    clip_id: str
    session_id: str | None
    recorded_at: datetime
    score: float  # no unit, higher is further from normal
    p: float  # 0..1
    alarm: bool
    accepted: bool
    reason: str | None  # why not
    version: int  # of the model that scored it


@dataclass(frozen=True)
class Refit:
    """A version of an infant's model, and the first recording that it scored."""

    version: int
    since: datetime
    calibrated: Calibrated
    baseline: Baseline


@dataclass(frozen=True)
class Band:
    """What a version calls normal: a row of table ``bands``."""

    infant_id: str
    version: int
    since: datetime
    clips: int
    sessions: int
    low: float  # 5th percentile of the calibration scores
    centre: float  # median
    high: float  # above which a recording alarms; where nothing is promised, the highest
    rate: float
    reachable: float
    promised: bool
    reason: str | None

    @staticmethod
    def of(refit: Refit) -> Band | None:
        """Of one version; None without calibration scores (a baseline of one session)."""
        found, baseline = refit.calibrated, refit.baseline
        if not len(found.scores):
            return None
        promise, order = found.promise, np.argsort(found.scores, kind="stable")
        scores = found.scores[order]
        # p <= rate means that scores of less than this weight reach the new one.
        most = promise.rate * (promise.units + 1) - 1 if promise.promised else 0.0
        weight = np.cumsum(found.weights[order][::-1])
        highest = scores[::-1][int(np.argmax(weight > most + 1e-9))]
        return Band(
            infant_id=baseline.infant_id,
            version=refit.version,
            since=refit.since,
            clips=len(baseline),
            sessions=len(np.unique(baseline.sessions)),
            low=float(np.quantile(scores, 0.05)),
            centre=float(np.median(scores)),
            high=float(highest),
            rate=promise.rate,
            reachable=promise.reachable,
            promised=promise.promised,
            reason=promise.reason or None,
        )


@dataclass(frozen=True)
class Observed:
    """An infant after some recordings."""

    state: InfantState
    outcomes: tuple[Outcome, ...]
    refits: tuple[Refit, ...] = ()  # versions that were made on the way
    withdrawn: tuple[str, ...] = ()  # clip ids accepted here or earlier that will not be taken up


@dataclass(frozen=True)
class _Taken:
    """A session of one infant."""

    state: InfantState
    outcomes: list[Outcome]
    withdrawn: list[str]


class Follower:
    """Scores and updates many infants at once; without a gate everything enters."""

    def __init__(
        self,
        model: InfantModel,
        gate: Gate | None,
        conformal: ConformalConfig,
        config: UpdatingConfig,
    ):
        self.model, self.gate = model, gate
        self.conformal, self.config = conformal, config
        self._most = (
            most_alarms(config.watch, conformal.rate, config.hold_chance) if config.watch else None
        )

    def start(self, baselines: Sequence[Baseline]) -> list[InfantState]:
        """Infants at version 0, fitted in one call."""
        found = calibrate(self.model, baselines, self.conformal)
        return [
            InfantState(baseline.infant_id, calibrated, baseline)
            for baseline, calibrated in zip(baselines, found, strict=True)
        ]

    def observe(
        self, states: Sequence[InfantState], new: Sequence[Sequence[Observation]]
    ) -> list[Observed]:
        """Each infant's ``new`` recordings, in the order of time, one session after the other.

        Raises ModelError where they are not in order.
        """
        queues = [_sessions(state, some) for state, some in zip(states, new, strict=True)]
        states = list(states)
        outcomes: list[list[Outcome]] = [[] for _ in states]
        refits: list[list[Refit]] = [[] for _ in states]
        withdrawn: list[list[str]] = [[] for _ in states]
        for turn in range(max(map(len, queues), default=0)):
            rows = [row for row, queue in enumerate(queues) if turn < len(queue)]
            coming = [queues[row][turn] for row in rows]
            due = [
                row
                for row, session in zip(rows, coming, strict=True)
                if self._due(states[row], session[0].session)
            ]
            for row, state in zip(due, self.refit([states[row] for row in due]), strict=True):
                states[row] = state
                since = queues[row][turn][0].recorded_at
                refits[row].append(Refit(state.version, since, state.calibrated, state.baseline))
            vectors = [np.stack([one.vector for one in session]) for session in coming]
            judged = judge(self.model, [states[row].calibrated for row in rows], vectors)
            for row, session, part, found in zip(rows, coming, vectors, judged, strict=True):
                taken = self._take(states[row], session, part, found)
                states[row] = taken.state
                outcomes[row] += taken.outcomes
                withdrawn[row] += taken.withdrawn
        return [
            Observed(*found[:1], *map(tuple, found[1:]))
            for found in zip(states, outcomes, refits, withdrawn, strict=True)
        ]

    def refit(self, states: Sequence[InfantState]) -> list[InfantState]:
        """Take up what is pending now, in one call of the model; those without it are unchanged."""
        due = [row for row, state in enumerate(states) if self._taken(state)]
        taken = [self._taken(states[row]) for row in due]
        baselines = [
            _joined(states[row], states[row].pending[:count], self.config.clips)
            for row, count in zip(due, taken, strict=True)
        ]
        out = list(states)
        fitted = calibrate(self.model, baselines, self.conformal)
        for row, count, baseline, calibrated in zip(due, taken, baselines, fitted, strict=True):
            out[row] = replace(
                states[row],
                calibrated=calibrated,
                baseline=baseline,
                pending=states[row].pending[count:],
                version=states[row].version + 1,
            )
        return out

    def _due(self, state: InfantState, session: str) -> bool:
        """Whether enough waits; a session that goes on waits on."""
        taken = self._taken(state)
        return 0 < self.config.refit_after <= taken and all(
            one.session != session for one in state.pending[:taken]
        )

    def _taken(self, state: InfantState) -> int:
        """How many of the pending have waited long enough, whole sessions."""
        count = max(0, len(state.pending) - self.config.wait)
        while 0 < count < len(state.pending) and (
            state.pending[count - 1].session == state.pending[count].session
        ):
            count -= 1
        return count

    def _take(
        self,
        state: InfantState,
        session: Sequence[Observation],
        vectors: np.ndarray,
        judged: Judged,
    ) -> _Taken:
        """One recording after the other, so that portions do not matter."""
        reasons, sounds = [None] * len(session), np.ones(len(session), dtype=bool)
        if self.gate is not None:
            decided = self.gate.decide(vectors, judged.p)
            reasons, sounds = list(decided.reasons), decided.sounds
        known = unit(np.concatenate([state.baseline.vectors, *_rows(state.pending)]))
        units = unit(vectors)
        recent, pending = list(state.recent), list(state.pending)
        made: list[Outcome] = []
        withdrawn: list[str] = []
        for row, one in enumerate(session):
            reason = reasons[row]
            if sounds[row] and self.config.watch:
                recent = [*recent, bool(judged.alarms[row])][-self.config.watch :]
            if self.gate is not None and self._most is not None and sum(recent) > self._most:
                # What came while the evidence gathered is as doubtful as what comes now.
                withdrawn += [other.clip_id for other in pending]
                pending = []
            if self.gate is not None and reason is None:
                reason = self._refused(known @ units[row], sum(recent))
            if not self.config.refit_after:
                reason = reason or NOT_UPDATED
            if reason is None:
                pending.append(one)
                known = np.concatenate([known, units[row : row + 1]])
            made.append(
                Outcome(
                    infant_id=state.infant_id,
                    clip_id=one.clip_id,
                    session_id=one.session_id,
                    recorded_at=one.recorded_at,
                    score=float(judged.scores[row]),
                    p=float(judged.p[row]),
                    alarm=bool(judged.alarms[row]),
                    accepted=reason is None,
                    reason=reason,
                    version=state.version,
                )
            )
        state = replace(state, pending=tuple(pending), recent=tuple(recent))
        return _Taken(state, made, withdrawn)

    def _refused(self, cosines: np.ndarray, alarms: int) -> str | None:
        if (nearest := float(cosines.max())) > self.config.repeat_cosine:
            return f"{REPEATED}: cosine {nearest:.4f} to a recording that is known"
        if self._most is not None and alarms > self._most:
            return f"{HELD}: {alarms} alarms in the latest {self.config.watch} recordings"
        return None


def held_since(outcomes: Sequence[Outcome]) -> datetime | None:
    """Since when an infant has been held without a break to the end of ``outcomes``.

    That is a change that a person has to look at; None where the latest cry was not held.
    """
    since = None
    for one in reversed(outcomes):
        if one.accepted:
            break
        if one.reason and one.reason.startswith(HELD):
            since = one.recorded_at
    return since


def most_alarms(watch: int, rate: float, chance: float) -> int:
    """The most alarms of ``watch`` recordings that a share above ``chance`` of all watches has."""
    from scipy.stats import binom

    return int(binom.isf(chance, watch, rate))


def _sessions(state: InfantState, new: Sequence[Observation]) -> list[list[Observation]]:
    """``new`` cut where the session changes."""
    out: list[list[Observation]] = []
    for one in new:
        if out and one.recorded_at < out[-1][-1].recorded_at:
            raise ModelError(
                f"infant {state.infant_id}: recording {one.clip_id} is earlier than "
                f"{out[-1][-1].clip_id} before it; give recordings in the order of time"
            )
        if not out or out[-1][-1].session != one.session:
            out.append([])
        out[-1].append(one)
    return out


def _rows(pending: Sequence[Observation]) -> list[np.ndarray]:
    return [one.vector[None] for one in pending]


def _joined(state: InfantState, new: Sequence[Observation], most: int) -> Baseline:
    """The latest recordings, about ``most``: a session is not cut, and two are kept in any case."""
    vectors = np.concatenate([state.baseline.vectors, *_rows(new)])
    names = [*map(str, state.baseline.sessions), *(one.session for one in new)]
    starts = [row for row in range(len(names)) if not row or names[row] != names[row - 1]]
    first = next((row for row in starts if len(names) - row <= most), starts[-1])
    if len(starts) > 1:
        first = min(first, starts[-2])
    return Baseline(state.infant_id, vectors[first:].astype(np.float32), np.array(names[first:]))
