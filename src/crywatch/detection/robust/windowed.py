"""What detectors that hear windows of a second share, whatever their network runs on."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable

import numpy as np

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.resampling import resample
from crywatch.detection.detectors import Detector, blocks
from crywatch.detection.robust.context import ContextConfig, pool, probabilities, window_logits


class WindowedDetector(Detector):
    """A network's logits of windows, and a second that listens to those around it."""

    def __init__(self, name: str, n_parameters: int, rate_hz: int, context: ContextConfig):
        super().__init__(name, n_parameters)
        self.rate_hz = rate_hz  # of the windows
        self.context = context
        self.lookahead_s = context.lookahead_s

    @abstractmethod
    def hear(self, windows: np.ndarray) -> np.ndarray:
        """[n, samples of a second] float32 at ``rate_hz``, none silent, to logits of a cry [n]."""

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        # What the last second of a block hears, and a second for the edges of the resampler.
        margin_s = 1 + math.ceil(self.context.farthest_s)
        parts = []
        for block in blocks(chunks, 1.0, margin_s):
            logits = window_logits(self.hear, self.low(block.wave), self.rate_hz, self.context.hops)
            parts.append(pool(logits, self.context)[block.first : block.last])
        return probabilities(np.concatenate(parts))

    def low(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz at the network's rate: exactly the seconds that 16 kHz counts."""
        samples = n_segments(len(wave)) * self.rate_hz
        low = resample(wave, RATE_HZ, self.rate_hz)[:samples]
        return np.pad(low, (0, samples - len(low)))
