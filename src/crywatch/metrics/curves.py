"""Metrics of a binary detector, derived from stored scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FALSE_ALARM_RATE = 0.01  # at which the recall is given


@dataclass(frozen=True)
class BinaryMetrics:
    """Metrics of scores in 0..1 against labels. None where a class is missing."""

    n: int
    n_cry: int
    accuracy: float | None  # at the threshold
    precision: float | None  # at the threshold
    recall: float | None  # at the threshold
    false_alarm_rate: float | None  # at the threshold, of the others
    auc: float | None
    average_precision: float | None
    recall_at_1pct: float | None  # highest recall with at most 1 % false alarms
    f1_max: float | None
    f1_threshold: float | None  # where F1 is highest
    f1_accuracy: float | None  # accuracy there


@dataclass(frozen=True)
class OperatingCurve:
    """A ROC or precision-recall curve."""

    x: np.ndarray  # false positive rate, or recall
    y: np.ndarray  # true positive rate, or precision
    thresholds: np.ndarray


def binary_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float) -> BinaryMetrics:
    """Metrics of ``scores`` [n] against ``labels`` [n] bool; at least one row."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=float)
    n, n_cry = len(labels), int(labels.sum())
    n_other = n - n_cry
    called = scores >= threshold
    hits, alarms = int((called & labels).sum()), int((called & ~labels).sum())
    both = 0 < n_cry < n
    best = max_f1(labels, scores) if n_cry else None
    return BinaryMetrics(
        n=n,
        n_cry=n_cry,
        accuracy=float((called == labels).mean()) if n else None,
        precision=hits / (hits + alarms) if hits + alarms else None,
        recall=hits / n_cry if n_cry else None,
        false_alarm_rate=alarms / n_other if n_other else None,
        auc=float(roc_auc_score(labels, scores)) if both else None,
        average_precision=float(average_precision_score(labels, scores)) if both else None,
        recall_at_1pct=recall_at(labels, scores, FALSE_ALARM_RATE) if both else None,
        f1_max=best.f1 if best else None,
        f1_threshold=best.threshold if best else None,
        f1_accuracy=float(((scores >= best.threshold) == labels).mean()) if best else None,
    )


@dataclass(frozen=True)
class BestF1:
    """The highest F1 over all thresholds, and the threshold."""

    f1: float
    threshold: float


def max_f1(labels: np.ndarray, scores: np.ndarray) -> BestF1:
    """The highest F1 (Table 6); the higher threshold where equal."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    called = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (called + labels.sum())
    last_of_tie = np.append(scores[order][1:] != scores[order][:-1], True)
    f1 = np.where(last_of_tie, f1, -1.0)
    best = int(np.argmax(f1))
    return BestF1(float(f1[best]), float(scores[order][best]))


def recall_at(labels: np.ndarray, scores: np.ndarray, false_alarm_rate: float) -> float:
    """The highest recall of any threshold with at most that rate of false alarms."""
    from sklearn.metrics import roc_curve

    # Every threshold: a thinned curve lacks points inside its straight lines.
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(tpr[fpr <= false_alarm_rate].max())


def roc(labels: np.ndarray, scores: np.ndarray) -> OperatingCurve:
    """True against false positive rate."""
    from sklearn.metrics import roc_curve

    return OperatingCurve(*roc_curve(labels, scores, drop_intermediate=True))


def precision_recall(labels: np.ndarray, scores: np.ndarray) -> OperatingCurve:
    """Precision against recall."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores, drop_intermediate=True)
    return OperatingCurve(recall, precision, thresholds)
