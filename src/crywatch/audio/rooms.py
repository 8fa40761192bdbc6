"""Room responses: a direct sound and a tail of noise that decays exponentially.

The model of J. D. Polack (La transmission de l'énergie sonore dans les salles, 1988) for the late
part of a response, at 16 kHz:

    h[0] = 1,    h[n] = g w[n] 10^(-3 n / (RT60 rate)) for n >= 2 ms,

w white Gaussian noise; 60 dB are lost in RT60, and g makes the energy of the tail lie below that
of the direct sound by the direct-to-reverberant ratio. What is heard first is the direct sound,
without delay: onsets keep referring to it.
"""

from __future__ import annotations

import numpy as np

from crywatch.audio.segments import RATE_HZ

FIRST_REFLECTION_S = 0.002


def response(rt60_s: float, direct_db: float, seed: int) -> np.ndarray:
    """A room response [samples] of ``rt60_s``; ``direct_db`` is the direct-to-reverberant ratio."""
    first = round(FIRST_REFLECTION_S * RATE_HZ)
    n = np.arange(max(round(rt60_s * RATE_HZ), first + 1))
    tail = np.random.default_rng(seed).standard_normal(len(n)) * 10 ** (-3 * n / (rt60_s * RATE_HZ))
    tail[:first] = 0.0
    out = tail * np.sqrt(10 ** (-direct_db / 10) / np.sum(tail**2))
    out[0] = 1.0
    return out


def reverberant(dry: np.ndarray, room: np.ndarray) -> np.ndarray:
    """``dry`` [samples] in ``room`` [taps], with its tail: [samples + taps - 1]."""
    from scipy.signal import fftconvolve

    return fftconvolve(dry, room)
