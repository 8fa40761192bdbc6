"""CryCeleb2023's tables: its cries, the challenge's trials, and a submission of scores."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.rows import read_rows

CORPUS = "cryceleb"  # its name among the corpora
AUDIO = "audio"
META = "metadata.csv"
PAIRS = {"dev": "dev_pairs.csv", "test": "test_pairs.csv"}
SAMPLE_SUBMISSION = "sample_submission.csv"
COLUMNS = (
    "baby_id",
    "period",
    "duration",
    "split",
    "chronological_index",
    "file_name",
    "file_id",
)
PARTS = ("train", "dev", "test")
PERIODS = {"B": "birth", "D": "discharge"}


@dataclass(frozen=True)
class Cry:
    """One row of metadata.csv: an expiration."""

    path: str  # below the corpus folder
    baby_id: str
    period: str  # B, D
    part: str  # train, dev, test
    number: int  # in the order of time within baby and period
    duration_s: float


@dataclass(frozen=True)
class Pair:
    """A trial: are the cries of one infant's birth and another's discharge from one infant?

    The protocol joins all cries of (``baby_b``, B) and of (``baby_d``, D) to one sound each.
    """

    baby_b: str
    baby_d: str
    same: bool | None  # None where the publisher keeps it back
    trial_id: str  # of the submission; in the dev pairs, which have none, the line number


def read_metadata(folder: Path) -> list[Cry]:
    """All cries of metadata.csv, with the official parts; CorpusError names row and column."""
    cries = []
    for row in read_rows(folder / META, COLUMNS):
        if row["period"] not in PERIODS:
            raise row.error("period", f"{row['period']!r} is neither B nor D")
        if row["split"] not in PARTS:
            raise row.error("split", f"{row['split']!r} is none of {', '.join(PARTS)}")
        cries.append(
            Cry(
                path=row.inside("file_name"),
                baby_id=row.filled("baby_id"),
                period=row["period"],
                part=row["split"],
                number=int(row.number("chronological_index")),
                duration_s=row.number("duration"),
            )
        )
    return cries


def read_pairs(folder: Path, part: str) -> list[Pair]:
    """The official trials of ``part`` (dev or test), in their order."""
    required = ("baby_id_B", "baby_id_D", *(("label",) if part == "dev" else ("id",)))
    pairs = []
    for row in read_rows(folder / PAIRS[part], required):
        same = None
        if row["label"]:  # of the test pairs since the challenge is over
            if row.number("label") not in (0, 1):
                raise row.error("label", f"{row['label']!r} is neither 0 nor 1")
            same = row.number("label") == 1
        trial_id = row.filled("id") if part == "test" else str(row.line)
        pairs.append(Pair(row.filled("baby_id_B"), row.filled("baby_id_D"), same, trial_id))
    return pairs


def write_submission(path: Path, pairs: Sequence[Pair], scores: Mapping[str, float]) -> None:
    """Write ``scores`` by trial (higher: more alike) as the challenge wants them: ``id,score``.

    The rows are in the order of ``pairs`` (`read_pairs` of the test part gives that of
    sample_submission.csv).

    Raises
    ------
    CorpusError
        A trial has no score or one that is not finite, or a score belongs to no trial.
    """
    for pair in pairs:
        if not math.isfinite(scores.get(pair.trial_id, math.nan)):
            raise CorpusError(f"{path}: trial {pair.trial_id!r} has no finite score")
    if unknown := sorted(set(scores) - {pair.trial_id for pair in pairs}):
        raise CorpusError(f"{path}: a score for {unknown[0]!r}, which is no trial")
    with atomic_path(path) as temp, open(temp, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("id", "score"))
        writer.writerows((pair.trial_id, repr(float(scores[pair.trial_id]))) for pair in pairs)
