"""Clips that hold the same sound, whole or in part, whatever their names, codecs and levels.

Landmarks (`split.landmarks`) find the pairs that share sound, and where. How alike two
clips are as wholes is told by their descriptions: the log energy of 24 mel bands below 3.4 kHz in
10 ms steps, with the means of each band and of each frame taken away, so that level, filtering and
the mere envelope drop out while even a steady noise keeps its own fluctuations. Silence is zero in
it: padding does not matter. The similarity is the normalised correlation of two descriptions; what
only one of the clips holds lowers it.

Of the pairs that share sound, a *duplicate* is one whose wholes are alike and whose sound lies
nearly all where both clips have some: one more copy, of which one is enough. All others are
*overlaps*: an excerpt, a common section, a mixture. They must not be divided by a split, but each
holds something that the other lacks, so both stay. An excerpt of a clip that is silent elsewhere
is a duplicate, because silence does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import clean_blocks
from crywatch.data.split.landmarks import find_shared

BANDS = 24
FMIN_HZ, FMAX_HZ = 150.0, 3400.0
HOP_S = 0.01
N_FFT = 640  # 40 ms
FLOOR_DB = 50.0  # below the clip's loudest band; hides what codecs do to near-silence
BLOCK_FRAMES = 6000  # described at a time: 60 s
SHIFT_FRAMES = 6  # around the offset of the landmarks, whose own steps are 16 ms
WHOLE = 0.3  # of the richer clip's landmarks found in the other; fewer are no duplicate
COVERED = 0.85  # of each one's sounding frames lie within the other's extent, of a duplicate
QUIET_DBFS = -60.0  # at or below this peak only equal samples count
CACHE_BYTES = 1 << 28  # of descriptions that are kept


@dataclass(frozen=True)
class Pair:
    """Two clips (row numbers) that share sound."""

    first: int
    second: int
    similarity: float  # of the wholes, 0..1
    duplicate: bool = True  # the same sound over nearly the whole of both, not only a section
    offset_s: float = 0.0  # at which the second begins on the clock of the first
    shared_s: float = 0.0  # from the first to the last sound that both have
    evidence: float = np.inf  # nats, of shared sound


@cache
def _mel() -> np.ndarray:
    return mel_filters(RATE_HZ, N_FFT, BANDS, FMIN_HZ, FMAX_HZ).astype(np.float64)


def _bands(wave: np.ndarray) -> np.ndarray:
    """[bands, frames] power of ``wave`` [samples]; sums in float64, of one order or another."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[:: round(HOP_S * RATE_HZ)]
    window = np.hanning(N_FFT).astype(np.float32)
    spectra = np.fft.rfft(frames * window)
    return _mel() @ (spectra.real**2 + spectra.imag**2).T.astype(np.float64)


def describe(blocks: Iterator[np.ndarray]) -> np.ndarray:
    """[bands, frames] float32 of unit norm; all zeros for silence.

    ``blocks`` [samples] at 16 kHz begin every `BLOCK_FRAMES` and reach N_FFT less a hop into the
    next one.
    """
    short = (np.pad(block, (0, max(0, N_FFT - len(block)))) for block in blocks)
    bands = np.concatenate([_bands(block) for block in short], axis=1)
    floor = float(bands.max()) * 10 ** (-FLOOR_DB / 10) + 1e-20
    sounding = bands.max(axis=0) > floor
    level = 10 * np.log10(bands + floor)
    level -= level[:, sounding].mean(axis=1, keepdims=True) if sounding.any() else 0.0
    # Without what all bands do together, one bark in silence is not like any other.
    level -= level.mean(axis=0, keepdims=True)
    level[:, ~sounding] = 0.0
    return (level / max(float(np.linalg.norm(level)), 1e-9)).astype(np.float32)


def similarity(first: np.ndarray, second: np.ndarray, shift: int | None = None) -> float:
    """Normalised correlation [0, 1] of two descriptions at the best shift.

    ``shift`` is the frame of the first at which the second begins, known to `SHIFT_FRAMES`; None
    tries all.
    """
    import scipy.fft

    size = scipy.fft.next_fast_len(first.shape[1] + second.shape[1] + 2 * SHIFT_FRAMES, real=True)
    spectra = [scipy.fft.rfft(each.astype(np.float64), size) for each in (first, second)]
    correlation = scipy.fft.irfft((spectra[0] * np.conj(spectra[1])).sum(axis=0), size)
    if shift is not None:
        around = np.arange(shift - SHIFT_FRAMES, shift + SHIFT_FRAMES + 1)
        correlation = correlation[around % size]
    return round(min(max(float(correlation.max()), 0.0), 1.0), 6)  # the rest is the processor's


def covered(first: np.ndarray, second: np.ndarray, shift: int) -> float:
    """The least share [0, 1] of a description's sounding frames that lie within the other's extent.

    ``shift`` is the frame of the first at which the second begins.
    """
    shares = []
    for own, other, begin in ((first, second, shift), (second, first, -shift)):
        sounding = np.any(own, axis=0)
        within = sounding[max(begin, 0) : max(begin + other.shape[1], 0)]
        shares.append(float(within.sum()) / max(float(sounding.sum()), 1.0))
    return min(shares)


def find_pairs(clips: pd.DataFrame, threshold: float, evidence: float) -> Iterator[Pair]:
    """All pairs of rows of ``clips`` that share sound.

    ``evidence`` (nats) tells that a pair shares sound, and ``threshold`` is the similarity from
    which it is a duplicate then. Equal samples are duplicates whatever they are; landmarks are
    looked for in one of them only.
    """
    yield from _equal_samples(clips)
    loud = (clips["peak_dbfs"] > QUIET_DBFS) & ~clips["sha256"].duplicated()
    rows = np.flatnonzero(loud.to_numpy())
    paths = clips["path"].to_numpy()
    descriptions = _Descriptions(paths)
    for shared in find_shared(paths[rows].tolist(), evidence):
        first, second = int(rows[shared.first]), int(rows[shared.second])
        alike, duplicate = 0.0, False
        if shared.whole >= WHOLE:
            described = descriptions.get(first), descriptions.get(second)
            shift = round(shared.offset_s / HOP_S)
            alike = similarity(*described, shift)
            duplicate = alike >= threshold and covered(*described, shift) >= COVERED
        if duplicate or shared.evidence >= evidence / 2:  # little is enough for copies only
            yield Pair(
                first, second, alike, duplicate, shared.offset_s, shared.shared_s, shared.evidence
            )


class Comparison:
    """How alike two clips (row numbers of ``clips``) are, 0..1; reads them when asked."""

    def __init__(self, clips: pd.DataFrame):
        self._sha256 = clips["sha256"].to_numpy()
        self._described = _Descriptions(clips["path"].to_numpy())

    def __call__(self, first: int, second: int) -> float:
        if self._sha256[first] == self._sha256[second]:
            return 1.0
        return similarity(self._described.get(first), self._described.get(second))


def _equal_samples(clips: pd.DataFrame) -> Iterator[Pair]:
    for _, rows in clips.reset_index(drop=True).groupby("sha256").groups.items():
        for row in rows[1:]:
            yield Pair(int(rows[0]), int(row), 1.0)


class _Descriptions:
    """The last descriptions, so that a clip with many candidates is read once."""

    def __init__(self, paths: np.ndarray):
        self._paths = paths
        self._kept: dict[int, np.ndarray] = {}

    def get(self, row: int) -> np.ndarray:
        if row not in self._kept:
            hop = round(HOP_S * RATE_HZ)
            blocks = clean_blocks(self._paths[row], BLOCK_FRAMES * hop, N_FFT - hop)
            made = describe(blocks)
            while self._kept and self._size() + made.nbytes > CACHE_BYTES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[row] = made
        return self._kept[row]

    def _size(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())
