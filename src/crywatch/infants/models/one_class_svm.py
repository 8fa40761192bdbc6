"""One-class SVM with an RBF kernel, by scikit-learn; kept as its support vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Arrays, Baseline, InfantModel


@dataclass
class OneClassSvmConfig:
    """Settings of the slides: gamma is 1 / (dim x variance), nu 0.05 to 0.1."""

    nu: float  # upper bound of the baseline clips outside, 0..1
    jobs: int  # processes; 1: in this one

    def __post_init__(self) -> None:
        if not 0 < self.nu <= 1:
            raise ConfigError(f"one_class_svm.nu is {self.nu:g}: it must be above 0 and at most 1")


class OneClassSvm(InfantModel):
    """The negative decision function: above 0 is outside of the boundary."""

    def __init__(self, config: OneClassSvmConfig, name: str = "one_class_svm"):
        self.config, self.name = config, name

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``support`` [vectors, dim], ``weights`` [vectors], ``offset`` [1] and ``gamma`` [1]."""
        from joblib import Parallel, delayed

        each = (delayed(_fit)(baseline.vectors, self.config.nu) for baseline in baselines)
        return Parallel(n_jobs=self.config.jobs)(each)

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """From the arrays, without scikit-learn."""
        return [_score(model, part) for model, part in zip(models, clips, strict=True)]


def _fit(vectors: np.ndarray, nu: float) -> Arrays:
    from sklearn.svm import OneClassSVM

    vectors = vectors.astype(float)
    variance = vectors.var()
    # scikit-learn's own 'scale', written out: the model needs the number.
    gamma = 1 / (vectors.shape[1] * variance) if variance > 0 else 1.0
    fitted = OneClassSVM(kernel="rbf", gamma=gamma, nu=nu).fit(vectors)
    return {
        "support": fitted.support_vectors_,
        "weights": fitted.dual_coef_[0],
        "offset": np.array([fitted.offset_[0]]),
        "gamma": np.array([gamma]),
    }


def _score(model: Arrays, vectors: np.ndarray) -> np.ndarray:
    support = model["support"]
    vectors = vectors.astype(float)
    squared = np.square(vectors).sum(axis=1)[:, None] - 2 * vectors @ support.T
    squared = np.maximum(squared + np.square(support).sum(axis=1), 0)
    return model["offset"][0] - np.exp(-model["gamma"][0] * squared) @ model["weights"]
