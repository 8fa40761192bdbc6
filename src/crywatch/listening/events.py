"""What a listener says of its sources, and whom it says it to.

There are two clocks: the source's, in seconds since its first sample with the gaps counted in, and
ours (UTC). An event's ``id`` stays from onset to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import numpy as np


class State(StrEnum):
    """Of a source."""

    CONNECTING = "connecting"  # also again, after it was lost
    LISTENING = "listening"
    STALLED = "stalled"  # connected, and no sound comes
    ENDED = "ended"  # a file or a pipe at its end, or the listener stops


@dataclass(frozen=True)
class SourceState:
    """A source's state from ``at`` on."""

    source: str  # its name
    state: State
    at: datetime  # UTC
    reason: str = ""  # of what is not as it should be, in one line without secrets


@dataclass(frozen=True)
class Sound:
    """Samples as they come; they follow the last ones unless ``gap_s`` of time lies between."""

    source: str
    start_s: float  # of the first sample, by the source's clock
    at: datetime  # of the first sample, UTC
    samples: np.ndarray  # [n] float32 at 16 kHz
    gap_s: float = 0.0  # of sound that did not come, before these samples


@dataclass(frozen=True)
class SecondScore:
    """The decision on one plain second."""

    source: str
    start_s: float  # by the source's clock
    at: datetime  # of its beginning, UTC
    cry: float  # 0..1; of a calibrated model the probability of a cry
    level_dbfs: float  # rms


@dataclass(frozen=True)
class CryEvent:
    """A cry that began; without an end it goes on."""

    id: str  # unique among all sources and runs
    source: str
    onset_s: float  # by the source's clock
    onset: datetime  # UTC
    peak: float  # the highest score so far
    mean: float  # of the scores of its seconds so far
    end_s: float | None = None
    end: datetime | None = None


class Sink(Protocol):
    """Whom a listener tells. A call returns at once, and its failure does not end listening."""

    def sound(self, sound: Sound) -> None: ...

    def second(self, second: SecondScore) -> None: ...

    def event(self, event: CryEvent) -> None:
        """Once at the onset, once with the end."""

    def state(self, state: SourceState) -> None: ...

    def close(self) -> None:
        """The listener ends; what waits may be sent for a few seconds yet."""
