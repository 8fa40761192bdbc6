"""A corpus's own silence: how often a sound with no cry in it is called one.

Heard are whole clips of a category of background, and the pauses of cry clips, as recorded and at
one level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from crywatch.data.truth import CRY
from crywatch.evaluation.scopes import clips_alone
from crywatch.evaluation.scored import (
    AS_RECORDED,
    BACKGROUND_SCALED,
    PAUSES,
    PAUSES_SCALED,
    Scored,
    ScoredSystem,
)

CLIP, PAUSE = "clip", "pause"
SCALED = "scaled"
HEARD = {  # kind and level, by channel
    (CLIP, AS_RECORDED): AS_RECORDED,
    (CLIP, SCALED): BACKGROUND_SCALED,
    (PAUSE, AS_RECORDED): PAUSES,
    (PAUSE, SCALED): PAUSES_SCALED,
}


@dataclass(frozen=True)
class BackgroundRow:
    """One system on one kind of background of one corpus."""

    system: str
    row: str
    corpus: str
    kind: str  # clip, pause
    heard: str  # as recorded, scaled
    n: int  # seconds
    clips: int
    called: float  # share at the threshold
    called_at_1pct: float | None  # at the threshold of 1 % false alarms on part val's others
    mean_score: float


def background_rows(
    system: ScoredSystem, scored: Scored, threshold: float, at_1pct: float | None
) -> Iterator[BackgroundRow]:
    """Shares called a cry by corpus, kind and level, of the test part."""
    clips = clips_alone(scored.clips)
    is_background = clips["category"].isin(scored.index.categories) & (clips["label"] != CRY)
    background = set(clips.loc[is_background & (clips["split"] == "test"), "clip_id"])
    corpora = clips[["clip_id", "corpus"]]
    parts = []
    for (kind, level), channel in HEARD.items():
        scores = scored.scores(system.name, channel).merge(corpora, on="clip_id")
        if channel == AS_RECORDED:
            scores = scores[scores["clip_id"].isin(background)]
        parts.append(scores.assign(kind=kind, heard=level))
    for (corpus, kind, level), frame in pd.concat(parts).groupby(["corpus", "kind", "heard"]):
        values = frame["score"].to_numpy()
        yield BackgroundRow(
            system=system.name,
            row=system.row,
            corpus=str(corpus),
            kind=str(kind),
            heard=str(level),
            n=len(values),
            clips=frame["clip_id"].nunique(),
            called=float((values >= threshold).mean()),
            called_at_1pct=None if at_1pct is None else float((values >= at_1pct).mean()),
            mean_score=float(values.mean()),
        )
