"""From scores to probabilities: temperature, Platt's line or isotonic steps, whichever is nearer
to the truth on groups that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.detection.calibrate.listening import Seconds
from crywatch.detection.decisions import EDGE, Calibration, logit

METHODS = ("temperature", "platt", "isotonic")
SLOPES = (0.02, 20.0)  # a slope below 0 would turn the order of the scores around
FOLDS = 5
EQUAL_NATS = 0.01  # of the held-out loss: a difference that a few recordings make
BINS = 10  # of the reliability diagram


@dataclass(frozen=True)
class Bin:
    """Seconds of about the same probability."""

    low: float
    high: float
    seconds: int
    probability: float  # mean of what was said
    share: float  # of them that are cries


@dataclass(frozen=True)
class Agreement:
    """How probabilities agree with what is true."""

    seconds: int
    share: float  # of the seconds that are cries
    nll: float  # nats, mean
    brier: float
    ece: float  # expected calibration error over `BINS` bins of one width


@dataclass(frozen=True)
class FittedCalibration:
    """The calibration that was chosen, and what each method reached on groups left out."""

    calibration: Calibration
    tried: dict[str, Agreement]  # by method; empty where there were too few groups


def fit(method: str, scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit ``method`` to ``scores`` [n] in 0..1 and ``labels`` [n] bool.

    Targets of the lines are drawn in by Platt's correction (1999), so that they stay finite where
    the classes do not overlap.
    """
    if method == "isotonic":
        return _isotonic(scores, labels)
    if method not in METHODS:
        raise ConfigError(f"calibrate.methods: {method!r} is none of {', '.join(METHODS)}")
    from scipy.optimize import minimize

    nats, n_cry = logit(scores), int(labels.sum())
    targets = np.where(labels, (n_cry + 1) / (n_cry + 2), 1 / (len(labels) - n_cry + 2))

    def loss(line: np.ndarray) -> float:
        predicted = line[0] * nats + (line[1] if len(line) > 1 else 0.0)
        return float(np.mean(np.logaddexp(0, predicted) - targets * predicted))

    free = 2 if method == "platt" else 1
    bounds = [SLOPES, (-50.0, 50.0)][:free]
    best = minimize(loss, np.array([1.0, 0.0])[:free], method="L-BFGS-B", bounds=bounds).x
    return Calibration(method, float(best[0]), float(best[1]) if free > 1 else 0.0)


def _isotonic(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    steps.fit(scores, labels.astype(float))
    knots = steps.X_thresholds_.tolist(), steps.y_thresholds_.tolist()
    return Calibration("isotonic", scores=tuple(knots[0]), probabilities=tuple(knots[1]))


def choose(methods: Sequence[str], seconds: Seconds) -> FittedCalibration:
    """Fit the first method whose cross-validated loss is within `EQUAL_NATS` of the lowest.

    Folds are of whole groups; the final fit is on all seconds.
    """
    if not methods:
        raise ConfigError("calibrate.methods is empty: name temperature, platt or isotonic")
    if seconds.labels.all() or not seconds.labels.any():
        raise ConfigError("calibrate: the validation part has no cry or nothing else: add clips")
    agreements = {
        method: result
        for method in methods
        if (result := _cross_validate(method, seconds)) is not None
    }
    least = min((result.nll for result in agreements.values()), default=0.0)
    near = [method for method, result in agreements.items() if result.nll <= least + EQUAL_NATS]
    return FittedCalibration(
        fit(near[0] if near else methods[0], seconds.scores, seconds.labels), agreements
    )


def _cross_validate(method: str, seconds: Seconds) -> Agreement | None:
    """Of probabilities that no group had a part in itself; None where there are too few groups."""
    from sklearn.model_selection import StratifiedGroupKFold

    scores, labels, groups = seconds.scores, seconds.labels, seconds.groups
    folds = min(FOLDS, len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if folds < 2:
        return None
    probabilities = np.zeros(len(scores))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for inside, outside in splitter.split(scores, labels, groups):
        probabilities[outside] = fit(method, scores[inside], labels[inside])(scores[outside])
    return agreement(labels, probabilities)


def agreement(labels: np.ndarray, probabilities: np.ndarray) -> Agreement:
    """Of ``probabilities`` [n] with ``labels`` [n] bool; n is at least 1."""
    inside = np.clip(probabilities, EDGE, 1 - EDGE)
    bins = reliability(labels, probabilities)
    return Agreement(
        seconds=len(labels),
        share=float(labels.mean()),
        nll=float(-np.mean(np.where(labels, np.log(inside), np.log1p(-inside)))),
        brier=float(np.mean((probabilities - labels) ** 2)),
        ece=sum(group.seconds * abs(group.probability - group.share) for group in bins)
        / len(labels),
    )


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Bins of one width that hold a second, rising."""
    index = np.minimum((np.asarray(probabilities) * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(index).tolist():
        inside = index == number
        probability, true = probabilities[inside].mean(), labels[inside].mean()
        edges = number / BINS, (number + 1) / BINS
        rows.append(Bin(*edges, int(inside.sum()), float(probability), float(true)))
    return rows
