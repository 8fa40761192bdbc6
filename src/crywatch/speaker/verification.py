"""Are two cries from one infant? Error rates of scored trials, and how sure they are.

A trial is accepted where its score is at or above a threshold. A miss is one infant's trial that is
not, a false alarm another's that is; an operating point has the rates of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError, TableError
from crywatch.metrics.bootstrap import bootstrap, percentiles
from crywatch.speaker.trials import TrialList


@dataclass
class VerificationConfig:
    """How verification is reported."""

    p_same: float = 0.01  # share of same-infant trials in use, for the detection cost
    cost_miss: float = 1.0
    cost_false_alarm: float = 1.0
    resamples: int = 400  # of the bootstrap


@dataclass(frozen=True)
class DetCurve:
    """Operating points from the strictest (nothing is accepted) to the laxest (all is)."""

    false_alarm: np.ndarray  # [points], rising from 0 to 1
    miss: np.ndarray  # [points], falling from 1 to 0
    thresholds: np.ndarray  # [points], falling from infinity

    def probit(self) -> tuple[np.ndarray, np.ndarray]:
        """False alarms and misses on the axes of a DET plot; infinite at rates of 0 and 1."""
        from scipy.stats import norm

        return norm.ppf(self.false_alarm), norm.ppf(self.miss)


@dataclass(frozen=True)
class EqualError:
    """Where misses and false alarms are equally frequent."""

    rate: float
    threshold: float  # the highest score at which there are at least as many false alarms


@dataclass(frozen=True)
class VerificationMetrics:
    """Error rates with 95 % intervals.

    None where one kind of trial is missing; intervals also where one infant has all its own trials,
    and of two infants: every draw with pairs of both is the same.
    """

    n_same: int  # trials
    n_other: int
    n_infants: int
    eer: float | None = None
    eer_low: float | None = None
    eer_high: float | None = None
    eer_threshold: float | None = None
    min_dcf: float | None = None
    min_dcf_low: float | None = None
    min_dcf_high: float | None = None


def det_curve(same: np.ndarray, scores: np.ndarray) -> DetCurve:
    """All operating points of ``scores`` [n] of trials that are ``same`` [n] bool or not."""
    same, scores = np.asarray(same, dtype=bool), np.asarray(scores, dtype=float)
    if not same.any() or same.all():
        raise TableError("verification: trials of one infant and of two are needed, one is missing")
    levels, level = np.unique(scores, return_inverse=True)
    return _curve(levels, level, same.astype(float), (~same).astype(float))


def equal_error(curve: DetCurve) -> EqualError:
    """The equal error rate: where the polyline of all operating points meets the diagonal.

    Exact in every point; between the two neighbours of the crossing it is linear, which is what
    choosing between their thresholds at random gives. Trials of equal score move together.
    """
    false_alarm = curve.false_alarm
    gap = false_alarm - curve.miss  # from -1 to 1, never falling
    at = int(np.argmax(gap >= 0))
    share = -gap[at - 1] / (gap[at] - gap[at - 1])
    rate = false_alarm[at - 1] + share * (false_alarm[at] - false_alarm[at - 1])
    return EqualError(float(rate), float(curve.thresholds[at]))


def min_dcf(curve: DetCurve, config: VerificationConfig) -> float:
    """The lowest detection cost over all thresholds, as a share of the better of accepting all and
    accepting nothing (NIST SRE)."""
    of_miss = config.cost_miss * config.p_same
    of_false_alarm = config.cost_false_alarm * (1 - config.p_same)
    cost = of_miss * curve.miss + of_false_alarm * curve.false_alarm
    return float(cost.min() / min(of_miss, of_false_alarm))


def verify(
    trials: TrialList, scores: np.ndarray, config: VerificationConfig, seed: int
) -> VerificationMetrics:
    """Metrics of ``scores`` [trials], with intervals by the bootstrap over infants.

    Trials share infants, so infants are drawn with replacement, not trials. An infant that is
    drawn k times counts as k infants: its own trials count k times, those between infants drawn k
    and l times k x l times.
    """
    scores = _checked(trials, scores, config)
    same = trials.known()
    names, numbers = np.unique(
        np.concatenate([trials.first_infant, trials.second_infant]), return_inverse=True
    )
    first, second = numbers.reshape(2, -1)
    counts = int(same.sum()), int((~same).sum()), len(names)
    if not counts[0] or not counts[1]:
        return VerificationMetrics(*counts)
    curve = det_curve(same, scores)
    error, cost = equal_error(curve), min_dcf(curve, config)
    levels, level = np.unique(scores, return_inverse=True)

    def errors(times: np.ndarray) -> tuple[float, float]:
        weight = np.where(same, times[first], times[first] * times[second])
        own, others = weight * same, weight * ~same
        if not own.any() or not others.any():
            return np.nan, np.nan
        curve = _curve(levels, level, own, others)
        return equal_error(curve).rate, min_dcf(curve, config)

    ends = None
    if config.resamples and len(names) > 2 and len(np.unique(first[same])) > 1:
        draws = bootstrap(
            lambda block: np.array([errors(times) for times in block]),
            len(names),
            resamples=config.resamples,
            seed=seed,
        )
        ends = percentiles(draws)
    lows, highs = ((None, None),) * 2 if ends is None else ends.tolist()
    return VerificationMetrics(
        *counts,
        eer=error.rate,
        eer_low=lows[0],
        eer_high=highs[0],
        eer_threshold=error.threshold,
        min_dcf=cost,
        min_dcf_low=lows[1],
        min_dcf_high=highs[1],
    )


def _checked(trials: TrialList, scores: np.ndarray, config: VerificationConfig) -> np.ndarray:
    if not 0 < config.p_same < 1 or min(config.cost_miss, config.cost_false_alarm) <= 0:
        raise ConfigError(
            f"verification: p_same is {config.p_same:g}, the costs {config.cost_miss:g} and "
            f"{config.cost_false_alarm:g}: set p_same between 0 and 1 and the costs above 0"
        )
    scores = np.asarray(scores, dtype=float)
    if scores.shape != (len(trials),):
        raise TableError(f"verification: {len(trials)} trials, but scores of shape {scores.shape}")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise TableError(
            f"verification: trial {row} ({trials.first[row]}, {trials.second[row]}) has the score "
            f"{scores[row]}"
        )
    return scores


def _curve(levels: np.ndarray, level: np.ndarray, own: np.ndarray, others: np.ndarray) -> DetCurve:
    """From the scores that there are, rising, and each trial's level and weight [trials]."""
    rates = [
        np.concatenate([[0.0], np.cumsum(np.bincount(level, weights, len(levels))[::-1])])
        for weights in (others, own)
    ]
    # Divided by their own last value, not by a sum in another order: the ends are exact.
    false_alarm, hit = (rate / rate[-1] for rate in rates)
    return DetCurve(false_alarm, 1 - hit, np.concatenate([[np.inf], levels[::-1]]))
