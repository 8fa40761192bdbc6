"""Overlapping windows of a recording, and the vote of those that hold a second.

The study's system decides by the majority of five overlapping windows of 5 s over 9 s. Five windows
a second apart that span 9 s have one second in common: that is the second whose score they give.
At the ends of a recording fewer windows hold a second, and they vote alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from crywatch.audio.segments import RATE_HZ, n_segments


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, all of one length."""

    start_s: float
    wave: np.ndarray  # [samples] float32 at 16 kHz


def windows(chunks: Iterable[np.ndarray], length_s: float) -> Iterator[Window]:
    """Windows of ``length_s``, one a second, of a recording that comes in ``chunks`` [samples].

    A recording shorter than a window is repeated until it fills one: zeros would draw averages
    towards silence. Where the last plain second would be in no window, the last ``length_s`` are
    one more.
    """
    length = round(length_s * RATE_HZ)
    buffer = np.zeros(0, dtype=np.float32)
    first = start = 0  # sample numbers: of ``held``, and of the next window
    for chunk in chunks:
        buffer = np.concatenate([buffer, chunk.astype(np.float32, copy=False)])
        while start + length <= first + len(buffer):
            yield Window(start / RATE_HZ, buffer[start - first : start - first + length])
            start += RATE_HZ
        drop = min(start, first + len(buffer) - length) - first
        if drop > 0:  # what the last window may still need stays
            buffer, first = buffer[drop:], first + drop
    n_samples = first + len(buffer)
    if 0 < n_samples < length:
        yield Window(0.0, np.resize(buffer, length))
    elif n_segments(n_samples) * RATE_HZ > start - RATE_HZ + length:
        yield Window((n_samples - length) / RATE_HZ, buffer[-length:])


def holding_sums(
    values: np.ndarray, starts_s: np.ndarray, length_s: float, n_seconds: int
) -> np.ndarray:
    """Sums of ``values`` [windows] over the windows that hold the middle of each plain second.

    ``starts_s`` [windows] rise. Ones as values give how many windows hold a second.
    """
    middles = np.arange(n_seconds) + 0.5
    # With its end: a tail of half a second has its middle there.
    first = np.searchsorted(starts_s, middles - length_s, side="left")
    last = np.searchsorted(starts_s, middles, side="right")
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return total[last] - total[first]


def means(values: np.ndarray, starts_s: np.ndarray, length_s: float, n_seconds: int) -> np.ndarray:
    """[n_seconds]: the mean of ``values`` [windows] over the windows that hold a second."""
    count = holding_sums(np.ones(len(values)), starts_s, length_s, n_seconds)
    return holding_sums(values, starts_s, length_s, n_seconds) / count


def vote(
    crying: np.ndarray,
    margins: np.ndarray,
    starts_s: np.ndarray,
    length_s: float,
    n_seconds: int,
) -> np.ndarray:
    """[n_seconds] in 0..1: how many of the n windows that hold a second say ``crying`` [windows].

    The mean of their ``margins`` [windows], in 0..1, orders equal votes: the score is (votes + mean
    margin) / (n + 1). With an odd number of windows it is 0.5 or more where most say crying; half
    of an even number is decided by the margins.
    """
    count = holding_sums(np.ones(len(crying)), starts_s, length_s, n_seconds)
    votes = holding_sums(crying, starts_s, length_s, n_seconds)
    margin = holding_sums(margins, starts_s, length_s, n_seconds) / count
    return (votes + margin) / (count + 1)
