"""Linear filters of generated sounds, with SciPy or without it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np


def lfilter(
    numerator: Sequence[float], denominator: Sequence[float], sound: np.ndarray
) -> np.ndarray:
    """`scipy.signal.lfilter` of [samples], for a denominator of 1 and at most one coefficient more.

    The base install, where `crywatch demo` makes its sound, has no SciPy; with it this takes a
    tenth of the time.
    """
    try:
        from scipy.signal import lfilter as of_scipy
    except ModuleNotFoundError:
        fed = np.convolve(numerator, sound)[: len(sound)]
        if len(denominator) == 1:
            return fed
        feedback = denominator[1]
        return np.array([*accumulate(fed.tolist(), lambda last, now: now - feedback * last)])
    return of_scipy(numerator, denominator, sound)
