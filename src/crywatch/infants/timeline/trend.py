"""Where an infant stands after each recording: a smoothed line and the evidence of a change.

Both count sessions, not recordings, because a session's recordings may be alike: a session is the
mean of its recordings' z (deviation at most 1, whatever they have in common), and while it goes on
each recording moves that mean.

- EWMA in continuous time (Roberts, 1959; for uneven times as in Eckner's survey of 2014): the
  weighted mean of the sessions, a session's weight halving every ``half_life_days``. Its variance
  is sum(w^2) / sum(w)^2, and the baseline adds 1 / units, for it is itself a sample. After a gap
  it begins anew.
- CUSUM in discrete time (Page, 1954): S = max(0, S + mean - reference), from the first new session
  on, one-sided, with the limit of `timeline.limits`. S stops one above its limit, so that
  the first usual sessions after a change bring it back below. Where versions differ in their
  limits, the highest since S left zero holds: a limit that falls is no alarm.

Everything is a recursion: one more recording costs the same after ten thousand as after ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.limits import cusum_limit

ABOVE_LIMIT = 1.0  # at which S stops
DAY_S = 86_400.0


@dataclass(frozen=True)
class Reading:
    """What the trend needs of one recording."""

    session: str  # differs from the one before where a new session begins
    at_s: float  # since 1970
    z: float  # nan: not scored
    units: int  # of the calibration
    alike: int  # scores to one unit
    followed: bool  # new, and judged by a version that promises a rate


@dataclass(frozen=True)
class TrendState:
    """All that has to be kept of the past; plain numbers, so that any store can hold it."""

    session: str = ""
    number: int = -1  # of the session, from 0
    begin_s: float = 0.0  # of the session
    at_s: float = 0.0  # of the latest recording
    total: float = 0.0  # z of the session's recordings so far
    count: int = 0
    # Before the session, at its beginning: sums of weights, of weight times mean, of weight squared
    weight: float = 0.0
    value: float = 0.0
    square: float = 0.0
    evidence: float = 0.0  # S before the session
    limit: float = 0.0  # the highest since S left zero
    now: float = 0.0  # S with the session so far
    limit_now: float = 0.0


@dataclass(frozen=True)
class Standing:
    """After one recording; nan where there is nothing to say."""

    state: TrendState
    gap_days: float  # since the recording before
    ewma: float
    ewma_limit: float
    cusum: float
    cusum_limit: float


def advance(state: TrendState, reading: Reading, config: TimelineConfig, seed: int) -> Standing:
    """The standing after ``reading``, which must not be earlier than what ``state`` has seen."""
    gap_days = math.nan if state.number < 0 else (reading.at_s - state.at_s) / DAY_S
    if reading.session != state.session or state.number < 0:
        state = _next_session(state, reading, gap_days, config)
    if not math.isnan(reading.z):
        state = replace(state, total=state.total + reading.z, count=state.count + 1)
    state = replace(state, at_s=reading.at_s)
    ewma = ewma_limit = cusum = limit = math.nan
    if state.count:
        mean = state.total / state.count
        weight = state.weight + 1
        ewma = (state.value + mean) / weight
        if reading.followed:
            spread = math.sqrt((state.square + 1) / weight**2 + 1 / max(1, reading.units))
            ewma_limit = config.ewma.width * spread
    if reading.followed:
        limit = cusum_limit(reading.units, reading.alike, config.cusum, seed)
        if state.evidence > 0:
            limit = max(limit, state.limit)
        cusum = state.evidence
        if state.count:
            rise = state.total / state.count - config.cusum.reference
            cusum = min(max(0.0, state.evidence + rise), limit + ABOVE_LIMIT)
        state = replace(state, now=cusum, limit_now=limit)
    return Standing(state, gap_days, ewma, ewma_limit, cusum, limit)


def _next_session(
    state: TrendState, reading: Reading, gap_days: float, config: TimelineConfig
) -> TrendState:
    """The session is over: it counts as one, and the past fades to the beginning of the next."""
    seen = 1 if state.count else 0
    mean = state.total / state.count if state.count else 0.0
    fade = 0.0
    if gap_days <= config.gap_days:  # not for the first, whose gap is nan
        days = (reading.at_s - state.begin_s) / DAY_S
        fade = 0.5 ** (days / config.ewma.half_life_days)
    return TrendState(
        session=reading.session,
        number=state.number + 1,
        begin_s=reading.at_s,
        at_s=reading.at_s,
        weight=fade * (state.weight + seen),
        value=fade * (state.value + mean),
        square=fade**2 * (state.square + seen),
        evidence=state.now,
        limit=state.limit_now,
        now=state.now,
        limit_now=state.limit_now,
    )
