"""The numbers that recipes are compared by: within corpora, pooled, and through one channel.

Per second, silent seconds left out, and per clip by its highest second. Within a corpus all of its
clips count, pooled only canonical ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from crywatch.data.truth import Truth
from crywatch.metrics.curves import BinaryMetrics, binary_metrics

POOLED = "pooled"
CLEAN, CHANNEL = "clean", "channel"
THRESHOLD = 0.5


@dataclass(frozen=True)
class ScopeMetrics:
    """Metrics of one scope."""

    scope: str  # pooled, a corpus, or "<corpus> cries, <other> others"
    heard: str  # CLEAN or CHANNEL
    unit: str  # second, clip
    metrics: BinaryMetrics

    def as_dict(self) -> dict:
        """Flat."""
        head = {"scope": self.scope, "heard": self.heard, "unit": self.unit}
        return head | asdict(self.metrics)


def measure(
    clips: pd.DataFrame,
    events: pd.DataFrame,
    silent: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
) -> list[ScopeMetrics]:
    """Of ``clips`` (labelled, duplicates too); ``scores`` by what was heard and clip_id."""
    seconds = _seconds(clips, events, silent, scores)
    rows = []
    for route, frame in seconds.groupby("heard", sort=False):
        for scope, part in _scopes(frame):
            loud = part[part["known"] & ~part["silent"]]
            by_clip = part.groupby("clip_id", sort=False).agg(
                score=("score", "max"), is_cry=("clip_is_cry", "first")
            )
            for unit, table in (("second", loud), ("clip", by_clip)):
                labels = table["is_cry"].to_numpy(dtype=bool)
                if 0 < labels.sum() < len(labels):
                    metrics = binary_metrics(labels, table["score"].to_numpy(), THRESHOLD)
                    rows.append(ScopeMetrics(scope, str(route), unit, metrics))
    return rows


def _seconds(
    clips: pd.DataFrame,
    events: pd.DataFrame,
    silent: Mapping[str, np.ndarray],
    scores: Mapping[str, Mapping[str, np.ndarray]],
) -> pd.DataFrame:
    truth = Truth(clips, events)
    parts = []
    for route, by_clip in scores.items():
        for row in clips.itertuples():
            clip_scores, known = by_clip[row.clip_id], not truth.is_weak(row.clip_id)
            parts.append(
                pd.DataFrame(
                    {
                        "heard": route,
                        "clip_id": row.clip_id,
                        "corpus": row.corpus,
                        "canonical": row.canonical,
                        "clip_is_cry": row.label == "cry",
                        "is_cry": known and truth.segments(row.clip_id, len(clip_scores)),
                        "known": known,
                        "silent": silent[row.clip_id],
                        "score": clip_scores,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _scopes(seconds: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """A corpus of cries alone is set against the other sounds of each other corpus."""
    scopes = [(POOLED, seconds[seconds["canonical"]])]
    others, alone = {}, {}
    for corpus, frame in seconds.groupby("corpus"):
        both = frame["clip_is_cry"].nunique() == 2
        if both:
            scopes.append((str(corpus), frame))
        if (~frame["clip_is_cry"]).any():
            others[str(corpus)] = frame[~frame["clip_is_cry"]]
        if not both and frame["clip_is_cry"].all():
            alone[str(corpus)] = frame
    for corpus, frame in alone.items():
        for other, negatives in others.items():
            scopes.append((f"{corpus} cries, {other} others", pd.concat([frame, negatives])))
    return scopes


def headline(rows: Sequence[ScopeMetrics]) -> dict[str, float]:
    """``scope/heard/unit/metric``: pooled AUC and recall at 1 %, and average precisions."""
    values = {}
    for row in rows:
        key = f"{row.scope}/{row.heard}/{row.unit}"
        names = ["average_precision", "auc"]
        names += ["recall_at_1pct"] if row.scope == POOLED else []
        for name in names:
            value = getattr(row.metrics, name)
            if value is not None:
                values[f"{key}/{name}"] = round(value, 6)
    return values
