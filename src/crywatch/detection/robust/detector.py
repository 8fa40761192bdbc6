"""The robust network as a detector: level-free pictures, and a second hears its neighbourhood."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from crywatch.core.models import ModelFolder, n_parameters
from crywatch.detection.blazenet.frontend import FrontEndConfig, pictures
from crywatch.detection.blazenet.network import FEATURES, network_of
from crywatch.detection.blazenet.runtime import Fastest, Forward
from crywatch.detection.detectors import BATCH, FeatureDetector, blocks
from crywatch.detection.robust.context import ContextConfig, Hearing, windows
from crywatch.detection.robust.windowed import WindowedDetector


def hearing(network: Forward, front_end: FrontEndConfig) -> Hearing:
    """Windows to pictures, and pictures to logits, on torch."""

    @torch.inference_mode()
    def hear(windows: np.ndarray) -> np.ndarray:
        logits = network(pictures(torch.from_numpy(windows), front_end))
        return (logits[:, 1] - logits[:, 0]).numpy()

    return hear


class RobustDetector(WindowedDetector, FeatureDetector):
    """BlazeNet on level-free pictures; a second listens to the windows around it."""

    def __init__(self, model: ModelFolder):
        self.front_end = FrontEndConfig.of(model.setting("frontend"))
        self.network = network_of(model)
        self._hear = hearing(self.network, self.front_end)
        super().__init__(
            model.setting("name"),
            n_parameters(self.network),
            self.front_end.rate_hz,
            ContextConfig(**model.setting("context")),
        )

    def speed_up(self) -> None:
        self._hear = hearing(Fastest(self.network), self.front_end)

    def hear(self, windows: np.ndarray) -> np.ndarray:
        return self._hear(windows)

    def pictures(self, wave: np.ndarray) -> np.ndarray:
        """[samples] at 16 kHz to [plain seconds, bands, frames], what the network is given."""
        return pictures(self._seconds(wave), self.front_end).numpy()

    @torch.inference_mode()
    def features_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """[plain seconds, 224] of each second's own window, for ``chunks`` [samples] at 16 kHz."""
        parts = []
        for block in blocks(chunks, 1.0):
            for batch in self._seconds(block.wave)[block.first : block.last].split(BATCH):
                images = pictures(batch, self.front_end)
                parts.append(self.network.features(images).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, FEATURES), dtype=np.float32)

    def _seconds(self, wave: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(windows(self.low(wave), self.rate_hz, 1).copy())
