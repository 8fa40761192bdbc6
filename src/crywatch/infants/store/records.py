"""What is kept of an infant, as it comes out of the store and goes into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from crywatch.infants.store.files import VersionFiles
from crywatch.infants.updating import InfantState, NormalBand, Observation

BASELINE, NEW = "baseline", "new"  # phases of a recording


@dataclass(frozen=True)
class Provenance:
    """What an infant's numbers were made with."""

    model: str  # name, one of `crywatch.infants.models.registry.MODELS`
    maker: str  # digest of all that gives a score its meaning
    embedding: str  # digest of all that gives a vector its meaning


@dataclass(frozen=True)
class StoredRecording:
    """A recording and what came of it; scores as in table ``followed``."""

    digest: str  # of the decoded samples
    path: str
    recorded_at: datetime
    session_id: str
    cries: int
    cry_s: float
    vector: np.ndarray  # [dim] float32
    phase: str  # BASELINE: a person enrolled it; NEW: it was scored
    score: float | None = None
    p: float | None = None
    alarm: bool = False
    accepted: bool = True
    reason: str | None = None
    version: int = 0
    remark: str | None = None
    waiting: bool = False  # accepted since the latest fit

    @property
    def observation(self) -> Observation:
        """As `crywatch.infants.updating` takes it."""
        return Observation(self.digest, self.session_id, self.recorded_at, self.vector)


@dataclass(frozen=True)
class InfantHistory:
    """All that is kept of an infant; records in the order of time, versions by number."""

    provenance: Provenance
    state: InfantState
    records: tuple[StoredRecording, ...]
    versions: tuple[KeptVersion, ...]

    @property
    def bands(self) -> tuple[NormalBand, ...]:
        """What each version calls normal."""
        return tuple(version.band for version in self.versions)


@dataclass(frozen=True)
class KeptVersion:
    """A version of an infant's model: its files, while they are kept, and what is known of it."""

    band: NormalBand
    files: VersionFiles | None
    remark: str | None = None


@dataclass(frozen=True)
class InfantEntry:
    """An infant in a list."""

    infant_id: str
    recordings: int
    sessions: int
    last: datetime
    version: int
    promised: bool


@dataclass(frozen=True)
class WrittenPage:
    """A file about an infant outside the store."""

    path: str
    sha256: str
