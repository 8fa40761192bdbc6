"""Clips that hold the same sound, whatever their names, codecs, rates and levels.

A clip is described by the log energy of 24 mel bands below 3.4 kHz in 10 ms steps with the means of
each band and of each frame taken away: level, filtering and the mere envelope drop out, while even
a steady noise keeps its own fluctuations. Candidates come from a description without time
(magnitudes of the modulation spectrum), compared in blocks; a candidate is a duplicate when the
normalised cross-correlation of the two descriptions, at the best shift, reaches the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from crywatch.audio import read_clean
from crywatch.progress import progress
from crywatch.segments import RATE_HZ

BANDS = 24
FMIN_HZ, FMAX_HZ = 150.0, 3400.0
HOP_S = 0.01
N_FFT = 640  # 40 ms
FLOOR_DB = 50.0  # below the clip's loudest band; hides what codecs do to near-silence
FRAMES = 1000  # described of a clip: its first 10 s
MODULATIONS = 96  # lowest modulation frequencies kept for the candidates
CANDIDATE = 0.75  # cosine of two time-free descriptions
MAX_SHIFT_S = 0.6
QUIET_DBFS = -60.0  # at or below this peak only equal samples count
FLAT_DB = 0.1  # rms fluctuation of the bands; a clip as steady as that has nothing to compare
BLOCK = 512  # clips compared at a time


@dataclass(frozen=True)
class Pair:
    """Two clips (row numbers) and how alike they are, 0..1."""

    first: int
    second: int
    similarity: float


@cache
def _mel() -> np.ndarray:
    import librosa

    return librosa.filters.mel(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=BANDS, fmin=FMIN_HZ, fmax=FMAX_HZ
    ).astype(np.float32)


def describe(wave: np.ndarray) -> np.ndarray:
    """[bands, FRAMES] float32 of ``wave`` [samples] at 16 kHz: unit norm, zero-padded in time.

    All zeros for a perfectly steady sound (a generated tone): only equal samples count there.
    """
    hop = round(HOP_S * RATE_HZ)
    wave = wave[: FRAMES * hop + N_FFT]
    if len(wave) < N_FFT:
        wave = np.pad(wave, (0, N_FFT - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[::hop][:FRAMES]
    window = np.hanning(N_FFT).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window).astype(np.complex64)) ** 2
    bands = _mel() @ power.T
    level = 10 * np.log10(bands + bands.max() * 10 ** (-FLOOR_DB / 10) + 1e-20)
    level -= level.mean(axis=1, keepdims=True)
    # Without what all bands do together, one bark in silence is not like any other.
    level -= level.mean(axis=0, keepdims=True)
    out = np.zeros((BANDS, FRAMES), dtype=np.float32)
    if np.sqrt(np.mean(level**2)) < FLAT_DB:
        return out
    out[:, : level.shape[1]] = level
    return out / max(float(np.linalg.norm(out)), 1e-9)


def time_free(description: np.ndarray) -> np.ndarray:
    """[bands * MODULATIONS] float32 of unit norm that a shift in time hardly changes."""
    pairs = description.reshape(BANDS // 2, 2, FRAMES).sum(axis=1)
    spectrum = np.abs(np.fft.rfft(pairs, 2 * FRAMES))[:, : 4 * MODULATIONS : 4]
    flat = spectrum.astype(np.float32).ravel()
    flat -= flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Highest normalised cross-correlation [-1, 1] of two descriptions within the shift allowed."""
    size = 2 * FRAMES
    spectra = np.fft.rfft(first, size), np.fft.rfft(second, size)
    correlation = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size).sum(axis=0)
    shift = round(MAX_SHIFT_S / HOP_S)
    best = max(correlation[: shift + 1].max(), correlation[-shift:].max())
    return float(best)


def find_pairs(clips: pd.DataFrame, threshold: float) -> Iterator[Pair]:
    """All pairs of rows of ``clips`` that are duplicates; reads each clip once.

    Memory grows with the number of clips only by the time-free descriptions (half precision);
    a candidate's two descriptions are made again from its audio.
    """
    yield from _equal_samples(clips)
    loud = np.flatnonzero(clips["peak_dbfs"].to_numpy() > QUIET_DBFS)
    if len(loud) < 2:
        return
    paths = clips["path"].to_numpy()
    rough = np.zeros((len(loud), BANDS // 2 * MODULATIONS), dtype=np.float16)
    for row, index in enumerate(progress(loud, "fingerprints", unit="clip")):
        rough[row] = time_free(describe(read_clean(paths[index])))
    cached = _Descriptions(paths)
    for start in range(0, len(loud), BLOCK):
        block = rough[start : start + BLOCK].astype(np.float32)
        for other in range(start, len(loud), BLOCK):
            cosine = block @ rough[other : other + BLOCK].astype(np.float32).T
            for i, j in np.argwhere(cosine >= CANDIDATE).tolist():
                if start + i >= other + j:
                    continue
                first, second = int(loud[start + i]), int(loud[other + j])
                alike = similarity(cached.get(first), cached.get(second))
                if alike >= threshold:
                    yield Pair(first, second, min(alike, 1.0))


class Comparison:
    """How alike two clips (row numbers of ``clips``) are, 0..1; reads them when asked."""

    def __init__(self, clips: pd.DataFrame):
        self._sha256 = clips["sha256"].to_numpy()
        self._described = _Descriptions(clips["path"].to_numpy())

    def __call__(self, first: int, second: int) -> float:
        if self._sha256[first] == self._sha256[second]:
            return 1.0
        alike = similarity(self._described.get(first), self._described.get(second))
        return min(max(alike, 0.0), 1.0)


def _equal_samples(clips: pd.DataFrame) -> Iterator[Pair]:
    for _, rows in clips.reset_index(drop=True).groupby("sha256").groups.items():
        for row in rows[1:]:
            yield Pair(int(rows[0]), int(row), 1.0)


class _Descriptions:
    """The last few descriptions, so that a clip with many candidates is read once."""

    def __init__(self, paths: np.ndarray, size: int = 256):
        self._paths, self._size = paths, size
        self._kept: dict[int, np.ndarray] = {}

    def get(self, row: int) -> np.ndarray:
        if row not in self._kept:
            if len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            self._kept[row] = describe(read_clean(self._paths[row]))
        return self._kept[row]
