"""What enrolling and scoring an infant gives to the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np

from crywatch.infants.conformal import Promise
from crywatch.infants.store import StoredRecording
from crywatch.infants.updating import InfantState


@dataclass(frozen=True)
class FailedFile:
    """A file that counts for nothing."""

    path: str
    error: str


@dataclass(frozen=True)
class EnrolmentResult:
    """What came of enrolling."""

    infant_id: str
    new: int  # recordings that joined the baseline
    corrected: int  # known ones that have another time now
    recordings: int  # of the baseline now
    sessions: int
    version: int
    promise: Promise
    failed: tuple[FailedFile, ...]


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
class ScoringResult:
    """What came of scoring, in the order of time."""

    infant_id: str
    files: tuple[ScoredFile, ...]
    promise: Promise  # of the model that would score the next one
    failed: tuple[FailedFile, ...]


def scored_file(record: StoredRecording, path: str) -> ScoredFile:
    """Of a record; ``path`` is as it was given."""
    values = {field.name: getattr(record, field.name) for field in fields(ScoredFile)}
    return ScoredFile(**values | {"path": path})


def enrolment_result(
    state: InfantState, new: int, corrected: int, failed: Sequence[FailedFile]
) -> EnrolmentResult:
    """Of an infant that is in ``state`` after it."""
    return EnrolmentResult(
        infant_id=state.infant_id,
        new=new,
        corrected=corrected,
        recordings=len(state.baseline),
        sessions=len(np.unique(state.baseline.sessions)),
        version=state.version,
        promise=state.calibrated.promise,
        failed=tuple(failed),
    )
