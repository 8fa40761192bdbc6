"""Sound from one sample rate to another, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

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
