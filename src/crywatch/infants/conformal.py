"""False alarm rates by promise: conformal p-values for each infant.

p = (1 + #{calibration scores >= s}) / (n + 1) (Vovk et al., 2005), where a clip's calibration score
comes from a model that saw no clip of its session. By the number of baseline clips:

- below ``loo_below``: leave-one-out, a fold a session (the full jackknife where each clip is its
  own session); every clip is calibrated on, because none can be spared;
- below ``split_from``: cross-conformal with ``folds`` folds (Vovk, 2015), sessions dealt to them;
- from there on: split, with ``split_share`` of the clips to calibrate on and the others to fit.

In the first two a new clip is compared with each calibration score under the model of that score's
own fold (as CV+ and jackknife+ do): a model fitted on all clips would be nearer to them than the
fold models are to their left-out ones. Split keeps the rate exactly; the others are proven only to
stay below twice the rate and a little (Barber et al., 2021), and are near it in practice.

``unit`` says what counts as one: clips, if those of a session are as different as those of several
sessions, or sessions (hierarchical conformal prediction, Lee et al., 2023: a session weighs one,
its clips share it), if they are not. A rate below 1 / (n + 1) cannot be had from n of them, and the
result says so.

With n = 28 a rate of 0.1 is kept as 2/29, the highest that p can tell. ``smoothed`` makes the rate
exact: a clip on the border alarms in the share that is missing, drawn from the clip itself, so the
same clip is judged alike again.

crepes computes the split formula alone, one clip at a time, and mapie no p-values of one class; the
tests hold this module against the first.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Arrays, Baseline, InfantModel, split_portions

CLIP, SESSION = "clip", "session"
NONE, LEAVE_ONE_OUT, CROSS, SPLIT = "none", "leave-one-out", "cross", "split"
_ROWS = 1 << 15  # clips that are scored at once
_ROUNDING = 1e-9  # of p and of the rate


@dataclass
class ConformalConfig:
    """Section ``conformal``."""

    rate: float  # false alarms wanted, of an infant's normal clips
    unit: str  # clip or session
    loo_below: int  # clips
    split_from: int  # clips
    folds: int
    split_share: float  # of the clips, to calibrate on
    smoothed: bool  # alarms at the exact rate, not at the next lower one that p can tell

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1 or not 0 < self.split_share < 1:
            raise ConfigError(
                f"conformal: rate {self.rate} and split_share {self.split_share} must be between "
                "0 and 1"
            )
        if self.unit not in (CLIP, SESSION):
            raise ConfigError(f"conformal.unit is {self.unit!r}: it must be {CLIP} or {SESSION}")
        if self.folds < 2 or self.loo_below > self.split_from:
            raise ConfigError(
                f"conformal: folds {self.folds} must be at least 2 and loo_below {self.loo_below} "
                f"at most split_from {self.split_from}"
            )


@dataclass(frozen=True)
class Promise:
    """What the calibration can promise, and how."""

    method: str  # none, leave-one-out, cross or split
    n: int  # calibration scores
    units: int  # clips or sessions that they count as
    rate: float  # wanted
    reachable: float  # the lowest rate that so many can reach
    smoothed: bool
    expected: float  # the rate if smoothed, or the highest that p can tell and is not above it
    proven: float  # what the rate can at most be, for exchangeable units
    promised: bool
    reason: str  # why it is not promised; empty where it is


@dataclass(frozen=True)
class CalibratedInfant:
    """An infant's models and calibration."""

    infant_id: str
    promise: Promise
    models: tuple[Arrays, ...]  # one a fold; one for all where nothing could be left out
    scores: np.ndarray  # [n], of the calibration clips
    fold: np.ndarray  # [n], the model that gave each score
    weights: np.ndarray  # [n], sum to ``promise.units``


@dataclass(frozen=True)
class Judgement:
    """New clips of one infant."""

    scores: np.ndarray  # [m], mean over the infant's models; higher is further from normal
    p: np.ndarray  # [m], 0..1, not smoothed
    alarms: np.ndarray  # [m] bool; never any where the rate is not promised


@dataclass(frozen=True)
class _Plan:
    method: str
    fold: np.ndarray  # [clips], -1: fitted on by every model
    folds: int

    @property
    def calibration_rows(self) -> np.ndarray:
        """[n] row numbers of the clips that are calibrated on, fold after fold."""
        order = np.argsort(self.fold, kind="stable")
        return order[self.fold[order] >= 0]


def calibrate(
    model: InfantModel, baselines: Sequence[Baseline], config: ConformalConfig
) -> list[CalibratedInfant]:
    """Fit all fold models of all infants in one call of ``model.fit``, and calibrate each infant.

    Raises ConfigError where an infant is named twice.
    """
    ids = Counter(baseline.infant_id for baseline in baselines)
    for infant_id, count in ids.items():
        if count > 1:
            raise ConfigError(f"infant {infant_id} has two baselines; join them into one")
    plans = [_plan(baseline.sessions, config) for baseline in baselines]
    fold_baselines, left_out = [], []
    for baseline, plan in zip(baselines, plans, strict=True):
        for number in range(plan.folds):
            rows = plan.fold == number
            fold_baselines.append(baseline.only(~rows))
            left_out.append(baseline.vectors[rows])
    fitted = model.fit(fold_baselines)
    scores = _score(model, fitted, left_out)
    ends = np.cumsum([plan.folds for plan in plans]).tolist()
    return [
        _calibrate(
            baseline, plan, fitted[end - plan.folds : end], scores[end - plan.folds : end], config
        )
        for baseline, plan, end in zip(baselines, plans, ends, strict=True)
    ]


def judge(
    model: InfantModel, infants: Sequence[CalibratedInfant], clips: Sequence[np.ndarray]
) -> list[Judgement]:
    """Scores, p-values and alarms of each infant's new ``clips`` [m, dim], all scored together.

    An alarm is a p at or below the promised rate; a smoothed p where the promise is smoothed.
    """
    models = [arrays for infant in infants for arrays in infant.models]
    repeated = [part for infant, part in zip(infants, clips, strict=True) for _ in infant.models]
    scores = iter(_score(model, models, repeated))
    out = []
    for infant, part in zip(infants, clips, strict=True):
        new = np.stack([next(scores) for _ in infant.models])
        calibration = infant.scores, infant.fold, infant.weights
        p = decisive = p_values(*calibration, new)
        if infant.promise.smoothed:
            decisive = p_values(*calibration, new, _draw(infant.infant_id, part))
        alarms = decisive <= infant.promise.rate + _ROUNDING
        out.append(Judgement(new.mean(axis=0), p, alarms & infant.promise.promised))
    return out


def calibration_rows(sessions: np.ndarray, config: ConformalConfig) -> np.ndarray:
    """The baseline clip of each of ``CalibratedInfant.scores``, by the baseline's ``sessions``.

    Clips that only fit are not among them; of a single session there are none.
    """
    return _plan(sessions, config).calibration_rows


def p_values(
    scores: np.ndarray,
    fold: np.ndarray,
    weights: np.ndarray,
    new: np.ndarray,
    uniform: np.ndarray | None = None,
) -> np.ndarray:
    """p [m] of new clips, from calibration ``scores``, ``fold`` and ``weights`` [n].

    ``new`` [folds, m] are the new clips' scores under each fold's model. With weights of 1 this is
    (1 + #{scores >= new}) / (n + 1). With ``uniform`` [m], drawn from 0..1, it is smoothed:
    (#{scores > new} + uniform (1 + #{scores = new})) / (n + 1).
    """
    least, above = np.zeros(new.shape[1]), np.zeros(new.shape[1])
    for number, row in enumerate(new):
        here = fold == number
        order = np.argsort(scores[here], kind="stable")
        # Weight of all scores from each position on, so that no clip is compared one by one.
        beyond = np.append(np.cumsum(weights[here][order][::-1])[::-1], 0.0)
        least += beyond[np.searchsorted(scores[here][order], row, side="left")]
        above += beyond[np.searchsorted(scores[here][order], row, side="right")]
    count = 1 + least if uniform is None else above + uniform * (1 + least - above)
    return np.minimum(count / (1 + weights.sum()), 1.0)


def _draw(infant_id: str, clips: np.ndarray) -> np.ndarray:
    """A number in 0..1 for each clip, by its own content."""
    start = zlib.crc32(infant_id.encode())
    rows = np.ascontiguousarray(clips, dtype=np.float32)
    return np.array([zlib.crc32(row.tobytes(), start) / 2**32 for row in rows])


def _score(
    model: InfantModel, models: Sequence[Arrays], clips: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """``model.score`` on so many clips at once as memory is meant to hold."""
    out: list[np.ndarray] = []
    for some in split_portions([len(part) for part in clips], _ROWS):
        out += model.score(models[some], clips[some])
    return out


def _plan(sessions: np.ndarray, config: ConformalConfig) -> _Plan:
    """Which model leaves which clips out; the order of the clips is that of time."""
    _, first, number = np.unique(sessions, return_index=True, return_inverse=True)
    n, groups = len(sessions), len(first)
    rank = np.empty(groups, dtype=int)
    rank[np.argsort(first)] = np.arange(groups)
    session = rank[number]  # by appearance
    if groups < 2:
        return _Plan(NONE, np.full(n, -1), 1)
    if n < config.loo_below or (n < config.split_from and groups <= config.folds):
        return _Plan(LEAVE_ONE_OUT, session, groups)
    sizes = np.bincount(session)
    if n < config.split_from:
        return _Plan(CROSS, deal(sizes, config.folds)[session], config.folds)
    return _Plan(SPLIT, _interleave(sizes, config.split_share)[session], 1)


def deal(sizes: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each session: the longest first, each to the fold with the fewest clips."""
    fold, load = np.zeros(len(sizes), dtype=int), np.zeros(folds, dtype=int)
    for session in np.argsort(-sizes, kind="stable"):
        fold[session] = int(np.argmin(load))
        load[fold[session]] += sizes[session]
    return fold


def _interleave(sizes: np.ndarray, share: float) -> np.ndarray:
    """-1 for sessions to fit on, 0 to calibrate on, by turns in time; at least one of each."""
    fold = np.full(len(sizes), -1)
    fit = calibration = 0  # clips so far
    for session, size in enumerate(sizes):
        last_chance = session == len(sizes) - 1 and not calibration
        wanted = share * (fit + calibration + size)
        if session and (last_chance or calibration + size / 2 < wanted):
            fold[session] = 0
            calibration += size
        else:
            fit += size
    return fold


def _calibrate(
    baseline: Baseline,
    plan: _Plan,
    models: Sequence[Arrays],
    scores: Sequence[np.ndarray],
    config: ConformalConfig,
) -> CalibratedInfant:
    rows = plan.calibration_rows
    _, number, sizes = np.unique(baseline.sessions[rows], return_inverse=True, return_counts=True)
    by_clip = config.unit == CLIP
    units = len(rows) if by_clip else len(sizes)
    return CalibratedInfant(
        infant_id=baseline.infant_id,
        promise=_promise(plan, baseline, len(rows), units, config),
        models=tuple(models),
        scores=np.concatenate(scores),
        fold=plan.fold[rows],
        weights=np.ones(len(rows)) if by_clip else 1 / sizes[number],
    )


def _promise(
    plan: _Plan, baseline: Baseline, n: int, units: int, config: ConformalConfig
) -> Promise:
    rate, reachable = config.rate, 1 / (units + 1)
    highest_below = np.floor(rate * (units + 1) + _ROUNDING).item() / (units + 1)
    promised = reachable <= rate + _ROUNDING
    reason = ""
    if plan.method == NONE:
        reason = (
            f"the baseline ({len(baseline)} clips) is of one session, so none can be left out; "
            "record another session"
        )
    elif not promised:
        reason = (
            f"{units} {config.unit}s cannot reach {rate:g}: the lowest rate is {reachable:.3g}; "
            f"it takes {int(np.ceil(1 / rate - 1 - _ROUNDING))}"
        )
    return Promise(
        method=plan.method,
        n=n,
        units=units,
        rate=rate,
        reachable=reachable,
        smoothed=config.smoothed,
        expected=rate if config.smoothed and promised else highest_below,
        proven=_proven(plan, units, rate),
        promised=promised and plan.method != NONE,
        reason=reason,
    )


def _proven(plan: _Plan, units: int, rate: float) -> float:
    """Barber et al., 2021, theorems 1 and 4, for folds of equal size."""
    if plan.method == NONE:
        return 1.0
    if plan.method == SPLIT:
        return rate
    n, folds = units, plan.folds
    rest = min(2 * (1 - 1 / folds) / (n / folds + 1), (1 - folds / n) / (folds + 1))
    return min(1.0, 2 * rate + max(0.0, rest))
