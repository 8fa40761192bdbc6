"""What a detector says of its scores: calibrated probabilities, and which seconds are an event.

A decision travels in a model's description (``model.json``, key ``decision``), so that the model
folder is all that is needed to decide as it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.models import REMAKE

KEY = "decision"  # of a model's description
EDGE = 1e-7  # nearer to 0 or 1 a score of single precision says nothing
KEPT = 1e-3  # share of the score itself in what isotonic knots make of it: equals keep their order


@dataclass(frozen=True)
class Calibration:
    """Scores to probabilities, in the order of the scores.

    Linear on the scale of the logit (temperature scaling, Guo et al., ICML 2017, is a slope of
    1 / T; with an offset it is Platt's), or by knots (isotonic regression).
    """

    method: str  # temperature, platt, isotonic
    slope: float = 1.0
    offset: float = 0.0  # nats
    scores: tuple[float, ...] = ()  # knots, rising; none: linear
    probabilities: tuple[float, ...] = ()  # at the knots

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """[n] scores in 0..1 to [n] probabilities in 0..1."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.scores:
            knotted = np.interp(scores, self.scores, self.probabilities)
            return (1 - KEPT) * knotted + KEPT * scores
        return expit(self.slope * logit(scores) + self.offset)


def logit(probabilities: np.ndarray | float) -> np.ndarray:
    """Nats; finite at 0 and 1 too."""
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), EDGE, 1 - EDGE)
    return np.log(inside) - np.log1p(-inside)


def expit(nats: np.ndarray | float) -> np.ndarray:
    """Its inverse."""
    return 1 / (1 + np.exp(-np.asarray(nats, dtype=np.float64)))


@dataclass(frozen=True)
class Rule:
    """Which plain seconds are an event: hysteresis, gaps and a minimum duration."""

    on: float  # an event has a second at or above it
    off: float  # and goes on, to both sides, through seconds at or above this
    min_event_s: float  # shorter events are dropped
    max_gap_s: float  # stretches at most this far apart are one


@dataclass(frozen=True)
class RatedRule:
    """The rule for one stated rate of false alarms, and what the validation part says of it."""

    false_alarms_per_hour: float  # stated
    rule: Rule
    alarms: int  # of the validation part
    upper_per_hour: float  # exact Poisson bound of their rate, one-sided 95 %
    promised: bool  # whether that bound keeps the stated rate


@dataclass(frozen=True)
class DetectedEvent:
    """A stretch of seconds that is called a cry."""

    onset_s: float
    offset_s: float
    peak: float  # the highest score in it


@dataclass(frozen=True)
class Decision:
    """What a calibrated model folder decides by."""

    calibration: Calibration
    rates: tuple[RatedRule, ...]  # by stated rate, rising
    default_per_hour: float  # one of them
    fitted_on: Mapping[str, Any]  # what is known of the sound it was fitted on

    def rated(self, per_hour: float | None = None) -> RatedRule:
        """Of a stated rate, the default one without; ConfigError if it was not prepared."""
        stated_rate = self.default_per_hour if per_hour is None else per_hour
        for rated_rule in self.rates:
            if rated_rule.false_alarms_per_hour == stated_rate:
                return rated_rule
        stated = ", ".join(f"{rated_rule.false_alarms_per_hour:g}" for rated_rule in self.rates)
        raise ConfigError(
            f"{stated_rate:g} false alarms an hour is no rate that this model was calibrated for: "
            f"name one of {stated}, or add it to calibrate.false_alarms_per_hour and run "
            "`dvc repro`"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the description."""
        return asdict(self)


def decision_of(description: Mapping[str, Any], where: str = "model") -> Decision | None:
    """The decision in a model's description, None if it has none; ModelError if it is damaged."""
    stored = description.get(KEY)
    if stored is None:
        return None
    try:
        calibration = dict(stored["calibration"])
        for name in ("scores", "probabilities"):
            calibration[name] = tuple(calibration.get(name, ()))
        rates = [dict(rate) | {"rule": Rule(**rate["rule"])} for rate in stored["rates"]]
        return Decision(
            Calibration(**calibration),
            tuple(RatedRule(**rate) for rate in rates),
            stored["default_per_hour"],
            stored["fitted_on"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: {KEY}: {type(error).__name__}: {error}: {REMAKE}") from error


def merge_events(
    scores: np.ndarray | Sequence[float], duration_s: float, rule: Rule
) -> tuple[DetectedEvent, ...]:
    """Events from ``scores`` [plain seconds] by ``rule``; with ``off`` equal to ``on`` plain runs.

    A recording shorter than the shortest event can hold one. The last offset never passes
    ``duration_s``.
    """
    scores = np.asarray(scores, dtype=np.float64)
    runs: list[list[int]] = []
    for second in np.flatnonzero(scores >= rule.off).tolist():
        if runs and second - runs[-1][1] <= rule.max_gap_s:
            runs[-1][1] = second + 1
        else:
            runs.append([second, second + 1])
    shortest = min(rule.min_event_s, duration_s)
    events = []
    for first, last in runs:
        peak = float(scores[first:last].max())
        offset = min(float(last), duration_s)
        long_enough = offset - first >= shortest - 1e-9 or last - first >= rule.min_event_s
        if peak >= rule.on and long_enough:
            events.append(DetectedEvent(float(first), offset, peak))
    return tuple(events)
