"""Sound, a model and a sink for the tests of room listening."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.detection.decisions import Rule
from crywatch.detection.robust.context import ContextConfig
from crywatch.detection.robust.windowed import WindowedDetector
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState

RULE = Rule(on=0.7, off=0.5, min_event_s=2.0, max_gap_s=1.0)
CONTEXT = ContextConfig(
    hop_s=0.25, own_reach_s=0.5, before_s=2.0, after_s=0.5, own_weight=0.5, pooling="soft"
)
BEGAN = datetime(2026, 3, 1, 3, tzinfo=UTC)


class LoudnessDetector(WindowedDetector):
    """What is loud is a cry, of a window at 8 kHz: quick, and every sample counts."""

    def __init__(self, context: ContextConfig = CONTEXT):
        super().__init__("loudness", 1, 8000, context)

    def hear(self, windows: np.ndarray) -> np.ndarray:
        levels = np.sqrt(np.square(windows, dtype=np.float64).mean(axis=1))
        return (20 * np.log10(levels / 0.1)).astype(np.float32)


@dataclass
class Recorder:
    """A sink that keeps what it is told."""

    sounds: list[Sound] = field(default_factory=list)
    seconds: list[SecondScore] = field(default_factory=list)
    events: list[CryEvent] = field(default_factory=list)
    states: list[SourceState] = field(default_factory=list)
    closed: int = 0

    def sound(self, sound: Sound) -> None:
        self.sounds.append(sound)

    def second(self, second: SecondScore) -> None:
        self.seconds.append(second)

    def event(self, event: CryEvent) -> None:
        self.events.append(event)

    def state(self, state: SourceState) -> None:
        self.states.append(state)

    def close(self) -> None:
        self.closed += 1

    @property
    def ended(self) -> list[CryEvent]:
        """Events with their ends."""
        return [event for event in self.events if event.end is not None]


def bursts(seed: int, n_samples: int) -> np.ndarray:
    """[n_samples] of noise at 16 kHz whose level changes every half second."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(10.0 ** rng.uniform(-2.5, -0.3, n_samples // 8000 + 1), 8000)[:n_samples]
    levels[rng.integers(0, max(1, n_samples)) :][:16_000] = 0.0  # and some silence
    return (levels * rng.standard_normal(n_samples)).clip(-1, 1).astype(np.float32)


def sounds(
    wave: np.ndarray, cuts: list[int], source: str = "nursery", start_s: float = 0.0
) -> Iterator[Sound]:
    """``wave`` [samples] at 16 kHz, cut after each of ``cuts`` samples."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(wave)}), len(wave)]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        at_s = start_s + first / RATE_HZ
        yield Sound(source, at_s, BEGAN + timedelta(seconds=at_s), wave[first:last])
