"""What enrolling and scoring answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from crywatch.infants.conformal import Promise
from crywatch.infants.store import Record
from crywatch.infants.updating import InfantState


@dataclass(frozen=True)
class Failed:
    """A file that counts for nothing."""

    path: str
    error: str


@dataclass(frozen=True)
class Enrolled:
    """What came of enrolling."""

    infant_id: str
    new: int  # recordings that joined the baseline
    recordings: int  # of the baseline now
    sessions: int
    version: int
    promise: Promise
    failed: tuple[Failed, ...]


@dataclass(frozen=True)
class ScoredFile:
    """A recording that was scored; see `crywatch.infants.updating.Outcome`."""

    path: str
    recorded_at: datetime
    cries: int
    cry_s: float
    score: float
    p: float
    alarm: bool
    accepted: bool
    reason: str | None
    version: int


@dataclass(frozen=True)
class Scored:
    """What came of scoring, in the order of time."""

    infant_id: str
    files: tuple[ScoredFile, ...]
    promise: Promise  # of the model that would score the next one
    failed: tuple[Failed, ...]


def scored_file(record: Record) -> ScoredFile:
    """What is told of a scored recording."""
    return ScoredFile(**{name: getattr(record, name) for name in ScoredFile.__dataclass_fields__})


def enrolled(state: InfantState, new: int, failed: Sequence[Failed]) -> Enrolled:
    """What is told of an infant after ``new`` recordings joined it."""
    return Enrolled(
        infant_id=state.infant_id,
        new=new,
        recordings=len(state.baseline),
        sessions=len(np.unique(state.baseline.sessions)),
        version=state.version,
        promise=state.calibrated.promise,
        failed=tuple(failed),
    )
