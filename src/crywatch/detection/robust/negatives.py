"""Other sounds that are made: what a cry shares with much else, without the cry.

`scramble` keeps the average spectrum of a second of crying, and with it the corpus's band, colour
and floor, and lets its phases go. `make_tones` makes voices of other things: steady or gliding
harmonics with pitches, lengths and rhythms that are drawn wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.audio.activity import RATE_HZ
from crywatch.detection.robust.spans import check_share

LOW_HZ, HIGH_HZ = 60.0, 3_000.0  # fundamentals of tones
GLIDE = 0.2  # octaves, standard deviation of a tone's glide within its second
PARTIALS = 8
LONGEST_S, SHORTEST_S = 1.5, 0.03  # of a tone and of the pause behind it


@dataclass  # not frozen: OmegaConf merges into it
class NegativesConfig:
    """What else is no cry, as shares of the other sounds of a batch."""

    scrambled: float
    tones: float

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what is no share."""
        check_share(f"{key}.scrambled", self.scrambled)
        check_share(f"{key}.tones", self.tones)
        check_share(f"{key}.scrambled + {key}.tones", self.scrambled + self.tones)


def scramble(waves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[n, samples] with the magnitudes of their spectra and phases that are drawn."""
    import scipy.fft

    size = np.abs(scipy.fft.rfft(waves, axis=1))
    phase = np.exp(2j * np.pi * rng.random(size.shape)).astype(np.complex64)
    return scipy.fft.irfft(size * phase, waves.shape[1], axis=1).astype(np.float32)


def make_tones(n: int, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """[n, n_samples] float32: harmonics that start and stop."""
    at_s = np.arange(n_samples) / RATE_HZ
    out = np.zeros((n, n_samples), dtype=np.float32)
    for row in range(n):
        pitch_hz = np.exp(rng.uniform(np.log(LOW_HZ), np.log(HIGH_HZ)))
        glide = rng.normal(0, GLIDE)
        phase = 2 * np.pi * np.cumsum(pitch_hz * 2 ** (glide * at_s)) / RATE_HZ
        fall = rng.uniform(0.5, 3.0)
        for partial in range(1, PARTIALS + 1):
            if partial * pitch_hz * 2 ** max(glide, 0) >= RATE_HZ / 2:
                break
            out[row] += partial**-fall * np.sin(partial * phase + rng.uniform(0, 2 * np.pi))
        on_s, off_s = np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S), 2))
        beat = (at_s + rng.uniform(0, on_s)) % (on_s + off_s)
        # A rise and a fall of 5 ms: no clicks.
        out[row] *= np.clip(np.minimum(beat, on_s - beat) / 0.005, 0, 1)
        out[row] += 1e-3 * rng.standard_normal(n_samples)
    return out
