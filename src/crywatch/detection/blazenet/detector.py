"""BlazeNet as a detector: the classifier alone, a second at a time or 5 s at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from crywatch.audio.segments import n_segments, segments_to_seconds
from crywatch.core.models import ModelFolder, n_parameters
from crywatch.detection.blazenet.frontend import FrontEndConfig, from_wave
from crywatch.detection.blazenet.network import cry_probability, network_of
from crywatch.detection.blazenet.runtime import Fastest, Forward
from crywatch.detection.detectors import BATCH, CountedChunks, FeatureDetector, blocks


class BlazeNetDetector(FeatureDetector):
    """The classifier alone; a second of a 5 s front end has the score of its segment."""

    def __init__(self, model: ModelFolder):
        self.front_end = FrontEndConfig.of(model.setting("frontend"))
        self.network = network_of(model)
        self._forward: Forward = self.network
        super().__init__(model.setting("name"), n_parameters(self.network))

    def speed_up(self) -> None:
        self._forward = Fastest(self.network)

    @torch.inference_mode()
    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        counted = CountedChunks(chunks)
        scores = self._segments(counted, lambda batch: cry_probability(self._forward(batch)))
        n_seconds = n_segments(counted.n_samples)
        return segments_to_seconds(scores, self.front_end.segment_s, n_seconds)

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [segments, bands, frames], what the network is given."""
        return from_wave(wave, self.front_end).numpy()

    @torch.inference_mode()
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """The same of a recording that comes in ``chunks`` [samples]."""
        return self._segments(chunks, self.network.features)

    def _segments(
        self, chunks: Iterable[np.ndarray], forward: Callable[[torch.Tensor], torch.Tensor]
    ) -> np.ndarray:
        """What ``forward`` makes of the pictures of all segments [segments, ...]."""
        parts = []
        for block in blocks(chunks, self.front_end.segment_s):
            pictures = from_wave(block.wave, self.front_end)[block.first : block.last]
            parts += [forward(batch).numpy() for batch in pictures.split(BATCH)]
        return np.concatenate(parts)
