"""Event-level metrics: every detector on the strongly labelled clips of every corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.data.truth import Truth, cut_at
from crywatch.evaluation.scored import ScoredSystem
from crywatch.metrics.events import EventMetrics, ScoredRecording, best_threshold, event_metrics

FIXED = "fixed"
CHOSEN = "validation"  # where the intersection F1 on the validation part is highest
PARTS = ("val", "test")


@dataclass(frozen=True)
class EventRow:
    """Event metrics of one model on one scope at one threshold."""

    model: str
    scope: str
    part: str  # test
    threshold_from: str  # fixed, validation
    metrics: EventMetrics


def measure_events(
    model: ScoredSystem, seconds: pd.DataFrame, truth: Truth, threshold: float
) -> Iterator[EventRow]:
    """Rows of one model over the corpora with strong labels, of the test part.

    ``seconds`` has clip_id, corpus, split, score and the clip's duration_s, in order of time. Each
    scope is measured at ``threshold`` and at the one that its validation part chooses; a corpus
    left out chooses none.
    """
    for corpus, frame in seconds.groupby("corpus", sort=True):
        parts = {part: list(recordings(frame[frame["split"] == part], truth)) for part in PARTS}
        if not any(recording.cries for recording in parts["test"]):
            continue
        metrics = event_metrics(parts["test"], threshold, model.segment_s)
        yield EventRow(model.name, str(corpus), "test", FIXED, metrics)
        chosen = None if corpus == model.leave_out else best_threshold(parts["val"])
        if chosen is not None:
            metrics = event_metrics(parts["test"], chosen, model.segment_s)
            yield EventRow(model.name, str(corpus), "test", CHOSEN, metrics)


def recordings(seconds: pd.DataFrame, truth: Truth) -> Iterator[ScoredRecording]:
    """The strongly labelled clips of ``seconds``, in order of their names."""
    for clip_id, frame in seconds.groupby("clip_id", sort=True):
        if not truth.is_strong(str(clip_id)):
            continue
        duration_s = float(frame["duration_s"].iloc[0])
        yield ScoredRecording(
            clip_id=str(clip_id),
            duration_s=duration_s,
            scores=np.asarray(frame["score"], dtype=float),
            cries=cut_at(truth.cries(str(clip_id)), duration_s),
            others=cut_at(truth.others(str(clip_id)), duration_s),
        )
