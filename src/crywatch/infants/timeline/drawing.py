"""Spectrograms of cries, small enough that one page can hold those of many infants."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

import numpy as np

from crywatch.audio.segments import RATE_HZ

WIDTH, HEIGHT = 320, 120  # pixels
TOP_HZ = 8000
N_FFT = 512  # samples, 32 ms
RANGE_DB = 60.0  # below the picture's peak
LEVELS = 32  # of colour
PAUSE_S = 0.05  # between two cries

# The picture of a recording as a data URI, or None where there is none to show.
Pictures = Callable[[str], str | None]


class Cries(Protocol):
    """What is needed of `crywatch.speaker.cries.store.CryStore`."""

    @property
    def recordings(self) -> Sequence[str]:
        """clip_ids."""
        ...

    def waves(self, clip_id: str) -> Sequence[np.ndarray]:
        """A recording's cries, float32 [samples] at 16 kHz."""
        ...


def pictures_of(store: Cries, longest_s: float) -> Pictures:
    """Pictures of the recordings in ``store``, of at most ``longest_s`` of crying each."""
    known = set(store.recordings)

    def picture(clip_id: str) -> str | None:
        return spectrogram(store.waves(clip_id), longest_s) if clip_id in known else None

    return picture


def spectrogram(cries: Sequence[np.ndarray], longest_s: float) -> str:
    """A recording's ``cries`` (float [samples] at 16 kHz) in a row, as a PNG in a data URI.

    Time from left to right over ``longest_s`` (shorter ones leave the right side dark), 0 to 8 kHz
    from the bottom to the top. Equal sounds give equal bytes.
    """
    from PIL import Image

    wave = _in_a_row(cries, round(longest_s * RATE_HZ))
    level = _level(wave)
    image = Image.fromarray(np.rint(level[::-1] * (LEVELS - 1)).astype(np.uint8))
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _in_a_row(cries: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """float32 [samples]: the cries with pauses between, cut or filled up with silence."""
    pause = np.zeros(round(PAUSE_S * RATE_HZ), dtype=np.float32)
    parts = [part for cry in cries for part in (np.asarray(cry, dtype=np.float32), pause)]
    joined = np.concatenate(parts or [pause])[:samples]
    return np.pad(joined, (0, max(N_FFT, samples) - len(joined)))


def _level(wave: np.ndarray) -> np.ndarray:
    """[HEIGHT, WIDTH], 0 at the bottom of the range and 1 at the peak; row 0 is 0 Hz."""
    starts = np.rint(np.linspace(0, len(wave) - N_FFT, WIDTH)).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[starts]
    power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT), axis=1)) ** 2
    bins = round(TOP_HZ / RATE_HZ * N_FFT)
    rows = np.minimum(np.arange(HEIGHT) * bins // HEIGHT, bins)
    power = power[:, rows].T
    level_db = 10 * np.log10(np.maximum(power, 1e-12) / max(float(power.max()), 1e-12))
    return np.clip(1 + level_db / RANGE_DB, 0, 1)


@cache
def _palette() -> bytes:
    from matplotlib import colormaps

    colours = colormaps["magma"](np.linspace(0, 1, LEVELS))[:, :3]
    return np.rint(colours * 255).astype(np.uint8).tobytes()
