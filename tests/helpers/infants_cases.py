"""Generated infants and settings for the tests of stage 2."""

from __future__ import annotations

import numpy as np

from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.models.autoencoder import AutoencoderConfig
from crywatch.infants.models.cohort import CohortConfig
from crywatch.infants.models.contract import Baseline
from crywatch.infants.models.cosine import unit
from crywatch.infants.models.mahalanobis import MahalanobisConfig
from crywatch.infants.models.mixture import MixtureConfig
from crywatch.infants.models.mixture_iclas import MixtureIclasConfig
from crywatch.infants.models.one_class_svm import OneClassSvmConfig
from crywatch.infants.models.registry import ModelsConfig

DIM = 192


def conformal(**changes) -> ConformalConfig:
    """The settings that the module's docstring describes."""
    given = {
        "rate": 0.1,
        "unit": "clip",
        "loo_below": 20,
        "split_from": 200,
        "folds": 5,
        "split_share": 0.5,
        "smoothed": False,
    }
    return ConformalConfig(**given | changes)


def autoencoder(**changes) -> AutoencoderConfig:
    """The slides' layers, few steps."""
    given = {
        "widths": [192, 128, 64, 32],
        "lr": 1e-3,
        "steps": 120,
        "check_every": 10,
        "patience": 3,
        "held_out": 0.25,
        "batch_infants": 32,
    }
    return AutoencoderConfig(**given | changes)


def mixture(**changes) -> MixtureConfig:
    """Up to five components."""
    given = {
        "components": 5,
        "clips_per_component": 4,
        "held_out": 0.25,
        "pca_below": 192,
        "pca_axes": 16,
        "clips_per_axis": 3,
        "least_variance": 1e-5,
        "jobs": 1,
    }
    return MixtureConfig(**given | changes)


def mixture_iclas(**changes) -> MixtureIclasConfig:
    """The slides' numbers of components in all dimensions."""
    given = {
        "components": [2, 3, 4, 5],
        "covariance": "full",
        "held_out": 0.25,
        "least_variance": 1e-6,
    }
    return MixtureIclasConfig(**given | changes)


def models_config(top_k: int = 0, steps: int = 120) -> ModelsConfig:
    """All models; no cohort unless ``top_k`` is given."""
    return ModelsConfig(
        autoencoder=autoencoder(steps=steps),
        one_class_svm=OneClassSvmConfig(nu=0.1, jobs=1),
        one_class_svm_nu005=OneClassSvmConfig(nu=0.05, jobs=1),
        mixture=mixture(),
        mixture_iclas=mixture_iclas(components=[2, 3]),
        mahalanobis=MahalanobisConfig(least_variance=1e-6),
        cohort=CohortConfig(top_k=top_k, infants=100, clips=5),
    )


def infants(
    count: int,
    clips: int | tuple[int, int],
    seed: int = 0,
    session_clips: int = 1,
    spread: float = 1.4,
    session_spread: float = 0.0,
    dim: int = DIM,
    prefix: str = "infant",
) -> list[Baseline]:
    """Infants with a direction each, clips of length 1 around it, sessions with their own."""
    out = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        n = clips if isinstance(clips, int) else int(rng.integers(*clips))
        sessions = np.arange(n) // session_clips
        rooms = session_spread * rng.standard_normal((sessions[-1] + 1, dim))
        centre = rng.standard_normal(dim)
        vectors = unit(centre + rooms[sessions] + spread * rng.standard_normal((n, dim)))
        out.append(Baseline(f"{prefix}{number:04d}", vectors.astype(np.float32), sessions))
    return out
