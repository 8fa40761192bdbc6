"""YAMNet as a detector, never trained on anything here: the peer of every comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crywatch.audio.segments import RATE_HZ, cut
from crywatch.core.errors import ConfigError, ModelError
from crywatch.detection.detectors import Detector
from crywatch.detection.embedders import yamnet
from crywatch.detection.embedders.base import EmbedderConfig

PARAMETERS = 3_700_000  # of the model card; the files do not say
N_CLASSES = 521


@dataclass(frozen=True)
class YamnetConfig:
    """Section ``yamnet``."""

    handle: str  # the .tflite file, a SavedModel folder or TF-Hub's URL; "": none
    weight: float  # of its logits where it decides with the robust network, 0..1

    def check(self) -> None:
        """ConfigError where a weight is none."""
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"yamnet.weight is {self.weight:g}: set it within 0 and 1")


class YamnetDetector(Detector):
    """The higher of "Crying, sobbing" and "Baby cry, infant cry" in each plain second."""

    def __init__(self, name: str, handle: str):
        self._network = yamnet.build(EmbedderConfig("yamnet", N_CLASSES, handle))
        super().__init__(name, PARAMETERS)

    def score_stream(self, chunks: Iterable[np.ndarray]) -> np.ndarray:
        """[plain seconds]; a second does not depend on the others."""
        parts, left = [], np.zeros(0, dtype=np.float32)
        for chunk in chunks:
            left = np.concatenate([left, chunk.astype(np.float32, copy=False)])
            # A second is held back: whether a tail counts, the last one tells.
            whole = max(0, len(left) // RATE_HZ - 1) * RATE_HZ
            if whole:
                parts.append(self.score_seconds(cut(left[:whole])))
                left = left[whole:]
        if len(left):
            parts.append(self.score_seconds(cut(left)))
        return np.concatenate(parts) if parts else np.zeros(0)

    def score_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n] in 0..1."""
        scores = np.asarray(self._network.class_scores(seconds), dtype=np.float64)
        if scores.shape[1:] != (N_CLASSES,):
            raise ModelError(
                f"yamnet.handle: gives {scores.shape[-1]} numbers a second; YAMNet has "
                f"{N_CLASSES} classes"
            )
        return scores[:, yamnet.CRY_CLASSES].max(axis=1)
