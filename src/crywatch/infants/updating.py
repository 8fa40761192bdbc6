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
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from crywatch.core.errors import ConfigError, ModelError
from crywatch.infants.conformal import (
    CalibratedInfant,
    ConformalConfig,
    Judgement,
    calibrate,
    judge,
)
from crywatch.infants.gate import BaselineGate
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
    calibrated: CalibratedInfant
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


class Judged(Protocol):
    """What is known of a recording after it was judged."""

    @property
    def recorded_at(self) -> datetime: ...
    @property
    def accepted(self) -> bool: ...
    @property
    def reason(self) -> str | None: ...


@dataclass(frozen=True)
class Refit:
    """A version of an infant's model, and the first recording that it scored."""

    version: int
    since: datetime
    calibrated: CalibratedInfant
    baseline: Baseline


@dataclass(frozen=True)
class NormalBand:
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
    def of(refit: Refit) -> NormalBand:
        """Of one version; low, centre and high are nan where there is no calibration score."""
        calibrated, baseline = refit.calibrated, refit.baseline
        promise, order = calibrated.promise, np.argsort(calibrated.scores, kind="stable")
        scores = calibrated.scores[order]
        low = centre = high = np.nan
        if len(scores):
            # p <= rate means that scores of less than this weight reach the new one.
            most = promise.rate * (promise.units + 1) - 1 if promise.promised else 0.0
            weight = np.cumsum(calibrated.weights[order][::-1])
            high = float(scores[::-1][int(np.argmax(weight > most + 1e-9))])
            low, centre = float(np.quantile(scores, 0.05)), float(np.median(scores))
        return NormalBand(
            infant_id=baseline.infant_id,
            version=refit.version,
            since=refit.since,
            clips=len(baseline),
            sessions=len(np.unique(baseline.sessions)),
            low=low,
            centre=centre,
            high=high,
            rate=promise.rate,
            reachable=promise.reachable,
            promised=promise.promised,
            reason=promise.reason or None,
        )


@dataclass(frozen=True)
class FollowedInfant:
    """An infant after some recordings."""

    state: InfantState
    outcomes: tuple[Outcome, ...]
    refits: tuple[Refit, ...] = ()  # versions that were made on the way
    withdrawn: tuple[str, ...] = ()  # clip ids accepted here or earlier that will not be taken up


@dataclass
class _Stream:
    """An infant while its recordings arrive."""

    state: InfantState
    sessions: list[list[Observation]]
    outcomes: list[Outcome] = field(default_factory=list)
    refits: list[Refit] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)


class Follower:
    """Scores and updates many infants at once; without a gate everything enters."""

    def __init__(
        self,
        model: InfantModel,
        gate: BaselineGate | None,
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
        fitted = calibrate(self.model, baselines, self.conformal)
        return [
            InfantState(baseline.infant_id, calibrated, baseline)
            for baseline, calibrated in zip(baselines, fitted, strict=True)
        ]

    def observe(
        self, states: Sequence[InfantState], new: Sequence[Sequence[Observation]]
    ) -> list[FollowedInfant]:
        """Each infant's ``new`` recordings, in the order of time, one session after the other.

        Raises ModelError where they are not in order.
        """
        streams = [
            _Stream(state, _sessions(state, recordings))
            for state, recordings in zip(states, new, strict=True)
        ]
        for turn in range(max((len(stream.sessions) for stream in streams), default=0)):
            active = [stream for stream in streams if turn < len(stream.sessions)]
            due = [
                stream
                for stream in active
                if self._due(stream.state, stream.sessions[turn][0].session)
            ]
            for stream, state in zip(
                due, self.refit([stream.state for stream in due]), strict=True
            ):
                stream.state = state
                since = stream.sessions[turn][0].recorded_at
                stream.refits.append(Refit(state.version, since, state.calibrated, state.baseline))
            vectors = [np.concatenate(_rows(stream.sessions[turn])) for stream in active]
            judged = judge(self.model, [stream.state.calibrated for stream in active], vectors)
            for stream, part, judgement in zip(active, vectors, judged, strict=True):
                self._take(stream, stream.sessions[turn], part, judgement)
        return [
            FollowedInfant(
                stream.state,
                tuple(stream.outcomes),
                tuple(stream.refits),
                tuple(stream.withdrawn),
            )
            for stream in streams
        ]

    def refit(self, states: Sequence[InfantState]) -> list[InfantState]:
        """Take up what is pending now, in one call of the model; those without it are unchanged."""
        counts = [self._count_ready(state) for state in states]
        due = [row for row, count in enumerate(counts) if count]
        baselines = [
            _join(states[row], states[row].pending[: counts[row]], self.config.clips) for row in due
        ]
        out = list(states)
        fitted = calibrate(self.model, baselines, self.conformal)
        for row, baseline, calibrated in zip(due, baselines, fitted, strict=True):
            out[row] = replace(
                states[row],
                calibrated=calibrated,
                baseline=baseline,
                pending=states[row].pending[counts[row] :],
                version=states[row].version + 1,
            )
        return out

    def _due(self, state: InfantState, session: str) -> bool:
        """Whether enough waits; a session that goes on waits on."""
        count = self._count_ready(state)
        return 0 < self.config.refit_after <= count and all(
            recording.session != session for recording in state.pending[:count]
        )

    def _count_ready(self, state: InfantState) -> int:
        """How many of the pending have waited long enough, whole sessions."""
        count = max(0, len(state.pending) - self.config.wait)
        while 0 < count < len(state.pending) and (
            state.pending[count - 1].session == state.pending[count].session
        ):
            count -= 1
        return count

    def _take(
        self,
        stream: _Stream,
        session: Sequence[Observation],
        vectors: np.ndarray,
        judged: Judgement,
    ) -> None:
        """One recording after the other, so that portions do not matter."""
        state, config = stream.state, self.config
        reasons: list[str | None] = [None] * len(session)
        sounds = np.ones(len(session), dtype=bool)
        if self.gate is not None:
            decisions = self.gate.decide(vectors, judged.p)
            reasons, sounds = list(decisions.reasons), decisions.sounds
        known = unit(np.concatenate([state.baseline.vectors, *_rows(state.pending)]))
        units = unit(vectors)
        recent, pending = list(state.recent), list(state.pending)
        for row, recording in enumerate(session):
            reason = reasons[row]
            if sounds[row] and config.watch:
                recent = [*recent, bool(judged.alarms[row])][-config.watch :]
            if self.gate is not None:
                if self._most is not None and sum(recent) > self._most:
                    # What came while the evidence gathered is as doubtful as what comes now.
                    stream.withdrawn += [waiting.clip_id for waiting in pending]
                    pending = []
                reason = reason or self._refused(known @ units[row], sum(recent))
            if not config.refit_after:
                reason = reason or NOT_UPDATED
            if reason is None:
                pending.append(recording)
                known = np.concatenate([known, units[row : row + 1]])
            stream.outcomes.append(
                Outcome(
                    infant_id=state.infant_id,
                    clip_id=recording.clip_id,
                    session_id=recording.session_id,
                    recorded_at=recording.recorded_at,
                    score=float(judged.scores[row]),
                    p=float(judged.p[row]),
                    alarm=bool(judged.alarms[row]),
                    accepted=reason is None,
                    reason=reason,
                    version=state.version,
                )
            )
        stream.state = replace(state, pending=tuple(pending), recent=tuple(recent))

    def _refused(self, cosines: np.ndarray, alarms: int) -> str | None:
        if (nearest := float(cosines.max())) > self.config.repeat_cosine:
            return f"{REPEATED}: cosine {nearest:.4f} to a recording that is known"
        if self._most is not None and alarms > self._most:
            return f"{HELD}: {alarms} alarms in the latest {self.config.watch} recordings"
        return None


def held_since(outcomes: Sequence[Judged]) -> datetime | None:
    """Since when an infant has been held without a break to the end of ``outcomes``.

    That is a change that a person has to look at; None where the latest cry was not held.
    """
    since = None
    for outcome in reversed(outcomes):
        if outcome.accepted:
            break
        if outcome.reason and outcome.reason.startswith(HELD):
            since = outcome.recorded_at
    return since


def most_alarms(watch: int, rate: float, chance: float) -> int:
    """The most alarms of ``watch`` recordings that a share above ``chance`` of all watches has."""
    from scipy.stats import binom

    return int(binom.isf(chance, watch, rate))


def _sessions(state: InfantState, new: Sequence[Observation]) -> list[list[Observation]]:
    """``new`` cut where the session changes."""
    out: list[list[Observation]] = []
    for recording in new:
        if out and recording.recorded_at < out[-1][-1].recorded_at:
            raise ModelError(
                f"infant {state.infant_id}: recording {recording.clip_id} is earlier than "
                f"{out[-1][-1].clip_id} before it; give recordings in the order of time"
            )
        if not out or out[-1][-1].session != recording.session:
            out.append([])
        out[-1].append(recording)
    return out


def _rows(recordings: Sequence[Observation]) -> list[np.ndarray]:
    return [recording.vector[None] for recording in recordings]


def _join(state: InfantState, new: Sequence[Observation], most: int) -> Baseline:
    """The latest recordings, about ``most``: a session is not cut, and two are kept in any case."""
    vectors = np.concatenate([state.baseline.vectors, *_rows(new)])
    names = [*map(str, state.baseline.sessions), *(recording.session for recording in new)]
    starts = [row for row in range(len(names)) if not row or names[row] != names[row - 1]]
    first = next((row for row in starts if len(names) - row <= most), starts[-1])
    if len(starts) > 1:
        first = min(first, starts[-2])
    return Baseline(state.infant_id, vectors[first:].astype(np.float32), np.array(names[first:]))
