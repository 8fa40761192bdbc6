"""Section ``infant`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.enrolment.listening import HearingConfig
from crywatch.infants.models.registry import ModelsConfig
from crywatch.infants.updating import UpdatingConfig


@dataclass(frozen=True)
class InfantConfig:
    """Section ``infant`` of params.yaml; folders are relative to the repository root."""

    store: str
    hearing: HearingConfig
    gate: str  # its folder; "" for none: then everything enters the baseline
    cohort: str  # folder of embed_cries
    changed: list[str]  # beginnings of categories that the cohort does without
    model: str  # one of `crywatch.infants.models.registry.MODELS`
    settings: ModelsConfig
    conformal: ConformalConfig
    updating: UpdatingConfig
    session_gap_h: float  # recordings so far apart are of two sessions
    keep_versions: int  # earlier models of an infant whose files are kept

    def __post_init__(self) -> None:
        if self.keep_versions < 0:
            raise ConfigError(f"infant.keep_versions is {self.keep_versions}: it must be 0 or more")
