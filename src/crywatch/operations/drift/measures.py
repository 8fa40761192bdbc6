"""What is measured of a sound: level, band, the model's score, and the network's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crywatch.core.errors import ConfigError

if TYPE_CHECKING:
    from crywatch.detection.detectors import Detector

QUIETEST_DBFS = -100.0  # what is below is one kind of silence
NARROWEST_HZ = 50.0


@dataclass(frozen=True)
class DriftConfig:
    """Section ``drift``. A quantity has drifted if its test says so at ``alpha`` (Holm over all
    quantities) and the two distributions are at least its limit apart."""

    reference_clips: int  # of the training part that are kept with a model
    excerpt_s: float = 5.0  # of a clip or recording that is measured
    reach_s: float = 60.0  # of a recording's beginning, in which the excerpt is drawn
    newest: int = 200  # recordings that are compared
    min_recordings: int = 20  # and groups of the reference: with fewer nothing is tested
    alpha: float = 0.01  # false alarms of one comparison, all quantities together
    permutations: int = 499  # of the test on embeddings
    level_db: float = 6.0  # Wasserstein distance
    peak_db: float = 6.0  # the same
    bandwidth_octaves: float = 0.5  # the same
    score: float = 0.15  # the same, of the clip's score in 0..1
    embedding_auc: float = 0.75  # of a classifier that tells recent from reference; 0.5 is chance

    def __post_init__(self) -> None:
        if self.permutations + 1 < QUANTITIES / self.alpha:
            raise ConfigError(
                f"drift.permutations: {self.permutations} cannot reach drift.alpha "
                f"{self.alpha:g} over {QUANTITIES} quantities: it takes "
                f"{int(np.ceil(QUANTITIES / self.alpha)) - 1}"
            )
        for name in ("reference_clips", "newest", "min_recordings"):
            if getattr(self, name) < 2:
                raise ConfigError(f"drift.{name}: {getattr(self, name)}; at least 2 are needed")
        if not 0.5 <= self.embedding_auc <= 1:
            raise ConfigError(f"drift.embedding_auc: {self.embedding_auc:g} is not in 0.5..1")


SCALARS = (  # name, unit, and key of `DriftConfig` with the limit
    ("level", "dBFS", "level_db"),
    ("peak", "dBFS", "peak_db"),
    ("bandwidth", "octaves above 50 Hz", "bandwidth_octaves"),
    ("score", "", "score"),
)
EMBEDDING = "embedding"
QUANTITIES = len(SCALARS) + 1


@dataclass(frozen=True)
class SoundMeasures:
    """Of one excerpt."""

    level: float  # dBFS, RMS
    peak: float  # dBFS
    bandwidth: float  # octaves above 50 Hz, measured at 16 kHz
    score: float  # the highest second, 0..1
    embedding: np.ndarray | None  # [dim] float32, the mean over seconds; None: the kind has none


def measure(wave: np.ndarray, detector: Detector) -> SoundMeasures:
    """Of ``wave`` [samples] at 16 kHz, which is not empty."""
    from crywatch.audio.segments import RATE_HZ
    from crywatch.audio.waves.levels import bandwidth_hz, level_dbfs

    scores = np.asarray(detector.score(wave), dtype=np.float64)
    if detector.decision is not None:
        scores = detector.decision.calibration(scores)
    embedding = None
    if hasattr(detector, "features"):
        embedding = detector.features(wave).mean(axis=0).astype(np.float32)
    band_hz = max(bandwidth_hz(wave, RATE_HZ), NARROWEST_HZ)
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    return SoundMeasures(
        level=max(level_dbfs(rms), QUIETEST_DBFS),
        peak=max(level_dbfs(float(np.abs(wave).max())), QUIETEST_DBFS),
        bandwidth=float(np.log2(band_hz / NARROWEST_HZ)),
        score=float(scores.max()),
        embedding=embedding,
    )
