"""Plain seconds: how a recording is cut into the unit of every score."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16_000  # of every cleaned clip
MIN_TAIL = 0.5  # of a segment; a shorter remainder is dropped


def n_segments(n_samples: int, rate_hz: int = RATE_HZ, segment_s: float = 1.0) -> int:
    """Number of plain segments in ``n_samples``: a remainder of half a segment or more counts.

    Anything that is not empty has at least one.
    """
    if n_samples <= 0:
        return 0
    length = segment_s * rate_hz
    whole = int(n_samples // length)
    return max(1, whole + int((n_samples - whole * length) >= MIN_TAIL * length))


def cut(wave: np.ndarray, rate_hz: int = RATE_HZ, segment_s: float = 1.0) -> np.ndarray:
    """Cut ``wave`` [samples] into [segments, samples a segment]; the last one is zero-padded."""
    length = round(segment_s * rate_hz)
    count = n_segments(len(wave), rate_hz, segment_s)
    out = np.zeros((count, length), dtype=np.float32)
    flat = wave[: count * length]
    out.reshape(-1)[: len(flat)] = flat
    return out


def segments_to_seconds(scores: np.ndarray, segment_s: float, n_seconds: int) -> np.ndarray:
    """[segments] to [n_seconds]: a second has the score of the segment it starts in."""
    index = np.minimum((np.arange(n_seconds) // segment_s).astype(int), len(scores) - 1)
    return np.asarray(scores, dtype=np.float64)[index]
