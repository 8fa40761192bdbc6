"""Section ``fit_infants``: the models of stage 2 and how they are calibrated and judged."""

from __future__ import annotations

from dataclasses import dataclass

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.evaluation import EvaluationConfig
from crywatch.infants.models.registry import MODELS, ModelsConfig


@dataclass(frozen=True)
class FitInfantsConfig:
    """Sections inside are not frozen: OmegaConf merges into them."""

    models: list[str]  # of `crywatch.infants.models.registry.MODELS`
    default: str  # the one that the report shows infant by infant
    changed: list[str]  # beginnings of the categories of recordings that are known to be abnormal
    settings: ModelsConfig
    conformal: ConformalConfig
    evaluation: EvaluationConfig

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.models, self.default) if name not in MODELS]
        if unknown or self.default not in self.models:
            raise ConfigError(
                f"fit_infants: models {list(self.models)} and default {self.default!r}: the "
                f"default must be one of the models, and these of {', '.join(MODELS)}"
            )
