"""The slides' Gaussian mixture: K = 2 to 5 by BIC on held-out clips, in all dimensions; -log p.

The slides do not name the form of the covariances; ``full`` is scikit-learn's own. With fewer clips
than dimensions every covariance is singular: what is added to the variances (``least_variance``)
stands for all directions in which no clip differs, and a new clip differs in them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Arrays, Baseline, InfantModel, held_out

COVARIANCES = ("full", "diag")


@dataclass
class MixtureIclasConfig:
    """Section ``mixture_iclas``."""

    components: list[int]  # that are tried; of more than there are clips, as many as clips
    covariance: str  # one of `COVARIANCES`
    held_out: float  # share of the clips that the number of components is chosen on
    least_variance: float  # added to every variance

    def __post_init__(self) -> None:
        if not self.components or min(self.components) < 1 or not 0 < self.held_out < 1:
            raise ConfigError(
                f"mixture_iclas: components {list(self.components)} must be at least 1 each, "
                f"held_out {self.held_out} between 0 and 1"
            )
        if self.covariance not in COVARIANCES or self.least_variance <= 0:
            raise ConfigError(
                f"mixture_iclas: covariance {self.covariance!r} must be one of "
                f"{', '.join(COVARIANCES)}, least_variance {self.least_variance} above 0"
            )


class MixtureIclas(InfantModel):
    """K by the Bayesian information criterion on held-out clips, then fitted on all."""

    name = "mixture_iclas"

    def __init__(self, config: MixtureIclasConfig, seed: int):
        self.config, self.seed = config, seed

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``weights`` [K], ``means`` [K, dim], ``factors`` [K, dim, dim] or [K, dim].

        ``factors`` are the precisions' Cholesky factors (upper), or their roots where covariances
        are diagonal.
        """
        return [self._fit(baseline) for baseline in baselines]

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-log p, from the arrays, without scikit-learn."""
        return [-_log_p(model, part) for model, part in zip(models, clips, strict=True)]

    def _fit(self, baseline: Baseline) -> Arrays:
        vectors = baseline.vectors.astype(float)
        out = held_out(baseline.sessions, self.config.held_out)
        counts = sorted(set(self.config.components))
        if out.any():
            kept, check = vectors[~out], vectors[out]
            tried = [self._components(kept, count) for count in counts if count <= len(kept)]
            if len(tried) > 1:
                counts = [counts[int(np.argmin([_bic(model, check) for model in tried]))]]
        return self._components(vectors, min(counts[0], len(vectors)))

    def _components(self, vectors: np.ndarray, count: int) -> Arrays:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            count,
            covariance_type=self.config.covariance,
            reg_covar=self.config.least_variance,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            # Equal clips give fewer clusters than asked for; the criterion decides on the result.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # scikit-learn refuses a single clip; twice the same one says as much.
            mixture.fit(np.repeat(vectors, 2, axis=0) if len(vectors) == 1 else vectors)
        return {
            "weights": mixture.weights_,
            "means": mixture.means_,
            "factors": mixture.precisions_cholesky_,
        }


def n_parameters(model: Arrays) -> int:
    """Free numbers of a mixture."""
    count, dim = model["means"].shape
    each = dim * (dim + 1) // 2 if model["factors"].ndim == 3 else dim
    return count - 1 + count * (dim + each)


def _bic(model: Arrays, vectors: np.ndarray) -> float:
    """-2 log p + parameters log n of the held-out clips; lower is better."""
    return -2 * _log_p(model, vectors).sum() + n_parameters(model) * math.log(len(vectors))


def _log_p(model: Arrays, vectors: np.ndarray) -> np.ndarray:
    from scipy.special import logsumexp

    vectors = vectors.astype(float)
    each = np.empty((len(vectors), len(model["weights"])))
    for row, (mean, factor) in enumerate(zip(model["means"], model["factors"], strict=True)):
        full = factor.ndim == 2
        turned = (vectors - mean) @ factor if full else (vectors - mean) * factor
        log_root = np.log(np.diagonal(factor) if full else factor).sum()
        each[:, row] = log_root - 0.5 * (
            np.square(turned).sum(axis=1) + vectors.shape[1] * math.log(2 * math.pi)
        )
    with np.errstate(divide="ignore"):  # a component that no clip is of has weight 0
        return logsumexp(each + np.log(model["weights"]), axis=1)
