"""Waves joined one after the other, with crossfades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Joined:
    """Waves one after the other."""

    wave: np.ndarray  # [samples] float32
    starts: tuple[int, ...]  # of each wave in it


def crossfaded(waves: Sequence[np.ndarray], fade: int, equal_power: bool = False) -> Joined:
    """Join ``waves`` [samples] with crossfades of ``fade`` samples.

    The ramps are linear. With ``equal_power`` they are their roots, so that noise keeps its level.
    A wave that is no longer than the fade gets none.
    """
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    if equal_power:
        ramp = np.sqrt(ramp)
    out = np.zeros(sum(map(len, waves)) - fade * (len(waves) - 1), dtype=np.float32)
    starts = []
    position = 0
    for number, wave in enumerate(waves):
        wave = wave.copy()
        if number > 0 and len(wave) > fade:
            wave[:fade] *= ramp
        if number < len(waves) - 1 and len(wave) > fade:
            wave[-fade:] *= ramp[::-1]
        out[position : position + len(wave)] += wave
        starts.append(position)
        position += max(len(wave) - fade, 1)
    return Joined(out, tuple(starts))
