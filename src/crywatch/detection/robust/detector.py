"""The robust network as a detector: level-free pictures, and a second hears its neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.resampling import resample
from crywatch.core.models import ModelFolder, n_parameters
from crywatch.detection.blazenet.frontend import FrontEndConfig, pictures
from crywatch.detection.blazenet.network import FEATURES, network_of
from crywatch.detection.blazenet.runtime import Fastest, Forward
from crywatch.detection.detectors import BATCH, FeatureDetector, blocks
from crywatch.detection.robust.context import (
    ContextConfig,
    pool,
    probabilities,
    window_logits,
    windows,
)


class RobustDetector(FeatureDetector):
    """BlazeNet on level-free pictures; a second listens to the windows around it."""

    def __init__(self, model: ModelFolder):
        self.front_end = FrontEndConfig.of(model.setting("frontend"))
        self.context = ContextConfig(**model.setting("context"))
        self.lookahead_s = self.context.lookahead_s
        self.network = network_of(model)
        self._forward: Forward = self.network
        super().__init__(model.setting("name"), n_parameters(self.network))

    def speed_up(self) -> None:
        self._forward = Fastest(self.network)

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        # What the last second of a block hears, and a second for the edges of the resampler.
        margin_s = 1 + math.ceil(self.context.farthest_s)
        parts = []
        for block in blocks(chunks, 1.0, margin_s):
            logits = window_logits(
                self._forward, self._low(block.wave), self.front_end, self.context.hops
            )
            parts.append(pool(logits, self.context)[block.first : block.last])
        return probabilities(np.concatenate(parts))

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, bands, frames], what the network is given."""
        seconds = windows(self._low(wave), self.front_end.rate_hz, 1)
        return pictures(seconds, self.front_end).numpy()

    @torch.inference_mode()
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """[plain seconds, 224] of each second's own window, for ``chunks`` [samples] at 16 kHz."""
        parts = []
        for block in blocks(chunks, 1.0):
            seconds = windows(self._low(block.wave), self.front_end.rate_hz, 1)
            for batch in seconds[block.first : block.last].split(BATCH):
                images = pictures(batch, self.front_end)
                parts.append(self.network.features(images).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, FEATURES), dtype=np.float32)

    def _low(self, wave: np.ndarray) -> np.ndarray:
        """At the front end's rate, with exactly the seconds that 16 kHz counts."""
        samples = n_segments(len(wave)) * self.front_end.rate_hz
        low = resample(wave, RATE_HZ, self.front_end.rate_hz)[:samples]
        return np.pad(low, (0, samples - len(low)))
