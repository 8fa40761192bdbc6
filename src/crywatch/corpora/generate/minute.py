"""A minute of a generated nursery at night, for `crywatch demo`: what is heard when is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.synthesis import RATE_HZ

SECONDS = 60.0
BACKGROUND = 10 ** (-50 / 20)  # peak of the fan, of full scale


@dataclass(frozen=True)
class Heard:
    """A sound of the minute."""

    what: str
    onset_s: float
    offset_s: float


SOUNDS = (
    Heard("a clock", 3.0, 8.0),
    Heard("an infant cries", 12.0, 22.0),
    Heard("somebody speaks", 26.0, 32.0),
    Heard("a cat", 35.0, 38.0),
    Heard("the infant cries, farther away", 43.0, 54.0),
)
CRIES = ("an infant cries", "the infant cries, farther away")


def minute(seed: int) -> np.ndarray:
    """[60 s] float64 at 22.05 kHz, the `SOUNDS` over a fan; the same for the same ``seed``."""
    rng = np.random.default_rng([seed, 11])
    infant = synthesis.infant_voice(rng)
    makers = (
        lambda seconds: 0.1 * synthesis.ticks(seconds, rng),
        lambda seconds: 0.7 * synthesis.cry(seconds, infant, rng),
        lambda seconds: 0.2 * synthesis.speech(seconds, rng),
        lambda seconds: 0.2 * synthesis.meow(seconds, rng),
        lambda seconds: 0.07 * synthesis.cry(seconds, infant, rng),
    )
    night = BACKGROUND * synthesis.hum(SECONDS, rng) + BACKGROUND * synthesis.noise(SECONDS, rng)
    for heard, make in zip(SOUNDS, makers, strict=True):
        sound = make(heard.offset_s - heard.onset_s)
        start = round(heard.onset_s * RATE_HZ)
        night[start : start + len(sound)] += sound
    return night
