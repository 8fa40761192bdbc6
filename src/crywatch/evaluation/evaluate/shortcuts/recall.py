"""Whose cries are found: recall by infant and by age, of the clips of which either is known.

A clip is found if one of its audible seconds is called a cry. Intervals are exact (Clopper and
Pearson, 1934) and take clips as independent, which those of one infant are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.corpora.shared.details import FILE, read_details
from crywatch.data.truth import CRY
from crywatch.evaluation.scopes import by_clip, clips_alone
from crywatch.evaluation.scored import Scored, ScoredSystem
from crywatch.metrics.intervals import share_interval

INFANT, AGE = "infant", "age"


@dataclass(frozen=True)
class RecallRow:
    """One system on the crying clips, test part, of one infant or age of a corpus."""

    system: str
    row: str  # of a table: the system without its seed
    corpus: str
    by: str  # infant, age
    value: str  # which
    clips: int
    found: float  # share at the threshold
    found_low: float
    found_high: float
    found_at_1pct: float | None  # at the threshold of 1 % false alarms on part val's others
    found_at_1pct_low: float | None
    found_at_1pct_high: float | None


def recall_rows(
    system: ScoredSystem,
    recorded: pd.DataFrame,
    scored: Scored,
    threshold: float,
    at_1pct: float | None,
) -> Iterator[RecallRow]:
    """Rows by corpus; ``recorded`` are its audible seconds as recorded."""
    seconds = clips_alone(recorded)
    seconds = seconds[(seconds["split"] == "test") & (seconds["label"] == CRY)]
    known = scored.clips.set_index("clip_id")[["corpus", "infant_id"]]
    known = known.join(ages(scored.clips)).rename(columns={"infant_id": INFANT})
    clips = by_clip(seconds)[["score"]].join(known)
    for by in (AGE, INFANT):
        for (corpus, value), frame in clips.dropna(subset=[by]).groupby(["corpus", by]):
            parts: list[float | None] = []
            for at in (threshold, at_1pct):
                found = 0 if at is None else int((frame["score"] >= at).sum())
                share = (found / len(frame), *share_interval(found, len(frame)))
                parts += [None, None, None] if at is None else share
            head = (system.name, system.row, str(corpus), by, str(value), len(frame))
            yield RecallRow(*head, *parts)  # type: ignore[arg-type]


def ages(clips: pd.DataFrame) -> pd.Series:
    """By clip_id, where the corpus tells it: " 2.5 months", or the round of its recordings."""
    tables = sorted({Path(path).parents[1] / FILE for path in clips["path"]})
    details = [read_details(path) for path in tables if path.is_file()]
    told = [(row.clip_id, _age(row)) for frame in details for row in frame.itertuples()]
    return pd.Series(dict(told), name=AGE, dtype=object)


def _age(details) -> str | None:
    if pd.notna(details.age_months):
        return f"{details.age_months:4.1f} months"
    return f"round {details.age_round}" if pd.notna(details.age_round) else None
