"""Sound from one sample rate to another, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from crywatch.core.errors import AudioError

GATHER_SAMPLES = 1 << 18  # resampled and written at a time
QUALITY = "VHQ"  # of soxr


def resample(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """``wave`` [samples] at ``from_hz`` as [samples] at ``to_hz``, as `Resampler`."""
    if from_hz == to_hz:
        return np.asarray(wave, dtype=np.float32)
    import soxr

    wave = np.asarray(wave, dtype=np.float64)
    return soxr.resample(wave, from_hz, to_hz, quality=QUALITY).astype(np.float32)


class Resampler:
    """A stream [samples] from one rate to another, in float64 and rounded to float32 once.

    soxr's lower qualities give other samples with each set of instructions of a processor; of this
    one they agree far beyond float32.
    """

    def __init__(self, from_hz: int, to_hz: int):
        import soxr

        self._same = from_hz == to_hz
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float64", quality=QUALITY)

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """What comes out after ``block`` [samples]: [samples] float32; ``last`` flushes."""
        if self._same:
            return block
        block = np.ascontiguousarray(block, dtype=np.float64)
        return self._stream.resample_chunk(block, last=last).astype(np.float32)


def gathered(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of about ``size``: fewer, larger calls."""
    buffer: list[np.ndarray] = []
    count = 0
    for block in blocks:
        buffer.append(block)
        count += len(block)
        if count >= size:
            yield np.concatenate(buffer)
            buffer, count = [], 0
    if buffer:
        yield np.concatenate(buffer)


class Info(Protocol):
    """What is known of a recording before its samples."""

    @property
    def rate_hz(self) -> int:
        """Of the samples."""


class Recording(Protocol):
    """A `crywatch.audio.decode.BlockReader`, or what stands for one."""

    path: Path
    n_samples: int  # when the iteration has ended

    @property
    def info(self) -> Info:
        """Known at once."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks [samples] float32."""


def at_rate(reader: Recording, to_hz: int) -> Iterator[np.ndarray]:
    """The samples of ``reader`` at ``to_hz``, in blocks; AudioError if not one is left."""
    from_hz = reader.info.rate_hz
    resampler = Resampler(from_hz, to_hz)
    n_samples = 0
    for block in gathered(reader, GATHER_SAMPLES):
        block = resampler(block)
        n_samples += len(block)
        yield block
    block = resampler(np.zeros(0, dtype=np.float32), last=True)
    n_samples += len(block)
    yield block
    if not n_samples:
        raise AudioError(f"{reader.path}: too short ({reader.n_samples} sample(s) at {from_hz} Hz)")
