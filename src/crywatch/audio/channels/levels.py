"""How loud a clip is where it sounds."""

from __future__ import annotations

import numpy as np

from crywatch.audio.segments import RATE_HZ

FRAME_S = 0.05
SOUNDING_DB = 30.0  # a frame this far below the loudest one is a pause


def sounding_rms(wave: np.ndarray) -> float:
    """Root mean square of ``wave`` [samples at 16 kHz] over the frames in which it sounds.

    Pauses count for nothing, as in the active speech level of ITU-T P.56: a short cry in a long
    silence is as loud as one that fills its clip. 0 for silence.
    """
    length = min(round(FRAME_S * RATE_HZ), len(wave))
    if not length:
        return 0.0
    whole = np.asarray(wave[: len(wave) // length * length], dtype=np.float64)
    power = np.mean(whole.reshape(-1, length) ** 2, axis=1)
    return float(np.sqrt(power[power >= power.max() * 10 ** (-SOUNDING_DB / 10)].mean()))


def amplitude(db: float) -> float:
    """A gain in decibels as a factor."""
    return 10 ** (db / 20)
