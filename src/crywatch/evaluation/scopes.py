"""What a metric is measured on: scopes of the clips, and a second or a clip as the unit.

Scopes: ``pooled`` (canonical clips of all corpora), each corpus by itself (its own clips,
duplicates included), ``untrimmed``, a corpus' cries against the other sounds of another where it
has none of its own, and ``<corpus>, left out``: all clips of a corpus, or of kinds of sound, for a
model that never heard them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from crywatch.data.selection import KIND, MADE, is_left_out
from crywatch.metrics.curves import BinaryMetrics, binary_metrics, max_f1
from crywatch.metrics.intervals import Intervals, group_bootstrap

POOLED = "pooled"
LEFT_OUT = "left out"
SECOND, CLIP = UNITS = ("second", "clip")


def scopes(seconds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and seconds of each scope within one part.

    ``seconds`` have is_cry, unknown and, of their clips, corpus, canonical and label.
    """
    made = seconds["corpus"].isin(MADE)
    trimmed = seconds[~made]
    yield POOLED, trimmed[trimmed["canonical"]]
    others = {}
    for corpus, frame in trimmed.groupby("corpus"):
        is_other = frame["label"] == "other"  # a silent second of a cry is not of this kind
        if frame["is_cry"].nunique() == 2:
            yield str(corpus), frame
        if is_other.any():
            others[corpus] = frame[is_other]
    for corpus, frame in trimmed.groupby("corpus"):
        if corpus not in others:
            for other, negatives in others.items():
                yield f"{corpus} cries, {other} others", pd.concat([frame, negatives])
    for corpus, frame in seconds[made].groupby("corpus"):
        yield str(corpus), frame


def pooled(seconds: pd.DataFrame) -> pd.DataFrame:
    """The known seconds of scope ``pooled`` within one part."""
    return known(dict(scopes(seconds))[POOLED])


def known(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without those of weak cries, which count as clips alone."""
    return seconds[~seconds["unknown"]]


def left_out(seconds: pd.DataFrame, leave_out: str) -> tuple[str, pd.DataFrame]:
    """Name and seconds of the scope of what a model never heard: all parts of it.

    Cries alone are measured against the others' other sounds of the test part, other sounds alone
    against its cries.
    """
    left = seconds[is_left_out(seconds, leave_out)]
    scope = f"{leave_out.replace(KIND, '')}, {LEFT_OUT}"
    for label, against in (("cry", "other"), ("other", "cry")):
        if len(left) and (left["label"] == label).all():
            rest = seconds[(seconds["label"] == against) & (seconds["split"] == "test")]
            rest = rest[rest["canonical"] & ~rest["corpus"].isin(MADE)]
            scope += ", against test " + {"other": "others", "cry": "cries"}[against]
            return scope, pd.concat([left, rest])
    return scope, left


def clips_alone(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without recordings that were made of clips."""
    return seconds[~seconds["corpus"].isin(MADE)]


def audible(seconds: pd.DataFrame) -> pd.DataFrame:
    """Without the seconds that were silent before any channel."""
    return seconds[~seconds["silent"]]


def best_threshold(seconds: pd.DataFrame) -> float | None:
    """Of the highest F1 per second on the pooled validation part; None where nothing cries in it.

    ``seconds`` are those of one system as recorded.
    """
    rows = pooled(seconds[seconds["split"] == "val"])
    if not rows["is_cry"].any():
        return None
    return max_f1(rows["is_cry"].to_numpy(), rows["score"].to_numpy()).threshold


@dataclass(frozen=True)
class UnitMetrics:
    """What is measured on one scope by one unit."""

    unit: str  # second, clip
    metrics: BinaryMetrics
    intervals: Intervals


def by_unit(seconds: pd.DataFrame, threshold: float, drawn: bool = True) -> Iterator[UnitMetrics]:
    """Metrics of the seconds of one scope, and of their clips; without intervals if not ``drawn``.

    Nothing where there are no seconds.
    """
    for unit, rows in units(seconds):
        labels, scores = rows["is_cry"].to_numpy(), rows["score"].to_numpy()
        intervals = group_bootstrap(labels, scores, rows["group_id"]) if drawn else Intervals()
        yield UnitMetrics(unit, binary_metrics(labels, scores, threshold), intervals)


def units(seconds: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The known seconds, and a row a clip; nothing where there are none."""
    if len(seconds):
        if len(known(seconds)):
            yield SECOND, known(seconds)
        yield CLIP, by_clip(seconds)


def by_clip(seconds: pd.DataFrame) -> pd.DataFrame:
    """A row a clip: the highest score of its seconds, and whether the clip is a cry."""
    clips = seconds.groupby("clip_id", sort=False).agg(
        score=("score", "max"), label=("label", "first"), group_id=("group_id", "first")
    )
    # Not the highest of its seconds: a cry of less than half a second fills none of them.
    clips["is_cry"] = clips["label"] == "cry"
    return clips
