"""Section ``fit_infants``: every part of stage 2."""

from __future__ import annotations

from dataclasses import dataclass

from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.evaluation import EvaluationConfig
from crywatch.infants.models import ModelsConfig
from crywatch.infants.shifts import ShiftsConfig


@dataclass(frozen=True)
class FitInfantsConfig:
    """The models that are compared, and how they are calibrated and judged.

    Sections inside are not frozen: OmegaConf merges into them.
    """

    models: list[str]  # of `crywatch.infants.models.MODELS`
    settings: ModelsConfig
    conformal: ConformalConfig
    evaluation: EvaluationConfig
    shifts: ShiftsConfig
