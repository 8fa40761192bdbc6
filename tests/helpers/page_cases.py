"""What a listener says in a night, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.listening.events import CryEvent, SecondScore, Sound

NIGHT = datetime(2030, 1, 2, 1, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A time of the night."""
    return NIGHT + timedelta(seconds=seconds)


def sound(start_s: float, seconds: float = 1.0, source: str = "camera") -> Sound:
    """A tone; each second of it has its own level: hundredths."""
    place = np.arange(round(seconds * RATE_HZ))
    level = 0.01 * (1 + (start_s + place // RATE_HZ) % 50)
    samples = (level * np.sin(2 * np.pi * 440 * place / RATE_HZ)).astype(np.float32)
    return Sound(source, start_s, at(start_s), samples)


def second(start_s: float, cry: float = 0.1, source: str = "camera") -> SecondScore:
    return SecondScore(source, start_s, at(start_s), cry, -40.0 + 20 * cry)


def cry(
    onset_s: float, end_s: float | None = None, name: str = "", source: str = "camera"
) -> CryEvent:
    """An event that goes on, or has its end."""
    values = {"end_s": end_s, "end": at(end_s)} if end_s is not None else {}
    name = name or f"cry-{onset_s:g}"
    return CryEvent(
        id=name, source=source, onset_s=onset_s, onset=at(onset_s), peak=0.9, mean=0.8, **values
    )
