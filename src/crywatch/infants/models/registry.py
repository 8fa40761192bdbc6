"""The models of stage 2 by name, and their sections of ``fit_infants``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crywatch.core.errors import ConfigError
from crywatch.infants.models.autoencoder import Autoencoder, AutoencoderConfig
from crywatch.infants.models.cohort import CohortConfig, SNormalised
from crywatch.infants.models.contract import Baseline, InfantModel
from crywatch.infants.models.cosine import Cosine
from crywatch.infants.models.mahalanobis import Mahalanobis, MahalanobisConfig
from crywatch.infants.models.mixture import MixtureConfig, MixtureModel
from crywatch.infants.models.mixture_iclas import MixtureIclas, MixtureIclasConfig
from crywatch.infants.models.one_class_svm import OneClassSvm, OneClassSvmConfig

NORMALISED = ("mahalanobis", "cosine")  # against the cohort, where there is one
MODELS = (
    "autoencoder",
    "one_class_svm",
    "one_class_svm_nu005",
    "mixture",
    "mixture_iclas",
    *NORMALISED,
)


@dataclass
class ModelsConfig:
    """A section a model; cosine has no settings."""

    autoencoder: AutoencoderConfig
    one_class_svm: OneClassSvmConfig
    one_class_svm_nu005: OneClassSvmConfig
    mixture: MixtureConfig
    mixture_iclas: MixtureIclasConfig
    mahalanobis: MahalanobisConfig
    cohort: CohortConfig


def build(
    name: str, config: ModelsConfig, seed: int, cohort: Sequence[Baseline] = ()
) -> InfantModel:
    """The model of that name; those of `NORMALISED` with S-norm if ``cohort.top_k`` is not 0.

    ``cohort`` are infants that are neither fitted nor tested. Raises ConfigError for an unknown
    name, or a cohort that is too small for ``cohort.top_k``.
    """
    if name not in MODELS:
        raise ConfigError(f"fit_infants has no model {name!r}; there are {', '.join(MODELS)}")
    models: dict[str, InfantModel] = {
        "autoencoder": Autoencoder(config.autoencoder, seed),
        "one_class_svm": OneClassSvm(config.one_class_svm),
        "one_class_svm_nu005": OneClassSvm(config.one_class_svm_nu005, "one_class_svm_nu005"),
        "mixture": MixtureModel(config.mixture, seed),
        "mixture_iclas": MixtureIclas(config.mixture_iclas, seed),
        "mahalanobis": Mahalanobis(config.mahalanobis),
        "cosine": Cosine(),
    }
    model = models[name]
    if name in NORMALISED and config.cohort.top_k:
        return SNormalised(model, cohort, config.cohort)
    return model
