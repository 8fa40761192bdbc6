"""Mean and deviation of a log-mel spectrum as vectors of cries: a model folder that learns no loss.

Statistics of spectra point one way for all sounds, so that their cosines say little; the training
infants set the origin and the units.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crywatch.core.errors import ModelError
from crywatch.core.models import REMAKE, ModelFolder, load
from crywatch.speaker import ecapa
from crywatch.speaker.baselines import RATE_HZ, logmel_statistics, origin_and_units
from crywatch.speaker.batches import unit

KIND = "logmel"
_PART = "statistics"  # of the weights in a model folder


class LogMelStatistics:
    """Waves at 16 kHz to unit vectors of 128 numbers, as `ecapa.Ecapa` gives them."""

    is_averaged = False  # over crops: statistics of a whole recording gain nothing by it

    def __init__(self, mean: np.ndarray, deviation: np.ndarray):
        self.mean, self.deviation = mean, deviation  # [128] each; an infinite one stands for 0

    @staticmethod
    def of(sounds: Sequence[np.ndarray]) -> LogMelStatistics:
        """Origin and units from ``sounds`` [samples] of the training infants."""
        return LogMelStatistics(
            *origin_and_units(np.stack([logmel_statistics(sound) for sound in sounds]))
        )

    def embed(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Waves [samples] at 16 kHz to [waves, 128] float32; no row depends on another wave."""
        return self.standardised(np.stack([logmel_statistics(wave) for wave in waves]))

    def standardised(self, statistics: np.ndarray) -> np.ndarray:
        """``statistics`` [n, 128] in the units of the training infants, of length 1, float32."""
        return unit((statistics - self.mean) / self.deviation).astype(np.float32)


def to_model(statistics: LogMelStatistics, name: str, corpora: Sequence[str]) -> ModelFolder:
    """For `models.save`."""
    import torch

    # Weights must be finite: the inverse of an infinite deviation is.
    arrays = {"mean": statistics.mean, "scale": 1 / statistics.deviation}
    description = {
        "kind": KIND,
        "name": name,
        "rate_hz": RATE_HZ,
        "dim": len(statistics.mean),
        "corpora": list(corpora),
    }
    weights = {f"{_PART}.{key}": torch.from_numpy(array) for key, array in arrays.items()}
    return ModelFolder(description, weights)


def from_model(model: ModelFolder) -> LogMelStatistics:
    """The statistics of a model folder; ModelError where its weights are others."""
    weights = {key: value.double().numpy() for key, value in model.part(_PART).items()}
    shapes = {key: value.shape for key, value in weights.items()}
    if shapes != {"mean": (model.setting("dim"),), "scale": (model.setting("dim"),)}:
        raise ModelError(f"{model.folder}: weights {shapes} are no statistics: {REMAKE}")
    with np.errstate(divide="ignore"):
        return LogMelStatistics(weights["mean"], 1 / weights["scale"])


def open_network(folder: Path | str) -> ecapa.Ecapa | LogMelStatistics:
    """What makes vectors of cries, from a model folder of train_speaker; ModelError without."""
    model = load(folder)
    return from_model(model) if model.setting("kind") == KIND else ecapa.from_model(model)
