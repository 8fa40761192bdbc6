"""A recipe of the robust training: its parts, each of which can be switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from crywatch.audio.activity import RATE_HZ
from crywatch.core.errors import ConfigError
from crywatch.detection.blazenet.frontend import FrontEndConfig
from crywatch.detection.robust.augmentation import AugmentationConfig
from crywatch.detection.robust.context import ContextConfig
from crywatch.detection.robust.draws import DrawsConfig
from crywatch.detection.robust.losses import AlignmentConfig
from crywatch.detection.robust.negatives import NegativesConfig
from crywatch.detection.robust.teaching import TeacherConfig

KEEP = ("last", "best")


@dataclass  # not frozen: OmegaConf merges into it
class RobustTrainingConfig:
    """How long and how fast; steps are those of the full schedule."""

    steps: int
    batch_size: int
    lr: float  # the highest of the one cycle
    warmup: float  # share of the steps in which the rate rises
    weight_decay: float
    clip_norm: float  # of the gradient
    ema: float  # what the averaged weights keep at each step
    label_smoothing: float
    mixup: float  # alpha of the beta distribution; 0 for none
    dropout: float  # of the 224 features
    hard_power: float  # a row weighs as its own loss to this power; 0 for all alike
    val_every: int  # steps, after which the state is saved too
    keep: str  # last or best averaged weights

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        limits: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
            (("steps", "batch_size", "val_every"), "to 1 or more", lambda value: value >= 1),
            (("lr", "clip_norm"), "> 0", lambda value: value > 0),
            (("warmup", "ema", "dropout"), "within [0, 1)", lambda value: 0 <= value < 1),
            (("label_smoothing",), "within [0, 0.5)", lambda value: 0 <= value < 0.5),
        )
        for names, limit, is_inside in limits:
            for name in names:
                value = getattr(self, name)
                if not is_inside(value):
                    raise ConfigError(f"{key}.{name} is {value:g}: set it {limit}")
        if self.keep not in KEEP:
            raise ConfigError(f"{key}.keep is {self.keep!r}: it is last or best")


@dataclass
class RecipeConfig:
    """All parts of a training but its seed and what it leaves out."""

    front_end: FrontEndConfig
    augmentation: AugmentationConfig
    draws: DrawsConfig
    negatives: NegativesConfig
    alignment: AlignmentConfig
    teacher: TeacherConfig
    training: RobustTrainingConfig
    context: ContextConfig

    def check(self, key: str) -> None:
        """ConfigError, naming the key below ``key``, for what cannot be."""
        self.front_end.check(f"{key}.front_end")
        self.augmentation.check(f"{key}.augmentation")
        self.draws.check(f"{key}.draws")
        self.negatives.check(f"{key}.negatives")
        self.alignment.check(f"{key}.alignment")
        self.context.check(f"{key}.context")
        if self.front_end.rate_hz != RATE_HZ:
            raise ConfigError(
                f"{key}.front_end.rate_hz is {self.front_end.rate_hz}: the sounds are at {RATE_HZ}"
            )
        if self.augmentation.floor_db is not None and self.front_end.scale in (
            "pcen",
            "paper",
            "minmax",
        ):
            raise ConfigError(
                f"{key}.augmentation.floor_db: pictures of scale {self.front_end.scale} have no "
                "floor to raise: set it to null"
            )
        self.teacher.check(f"{key}.teacher")
        self.training.check(f"{key}.training")

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"front_end": self.front_end.as_dict()}


def change_recipe(base: RecipeConfig, changes: Mapping[str, Any], where: str) -> RecipeConfig:
    """``base`` with a tree of ``changes``; ConfigError, naming ``where``, for unknown keys."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        structured = OmegaConf.structured(RecipeConfig(**{k: getattr(base, k) for k in _PARTS}))
        merged = OmegaConf.merge(structured, OmegaConf.create(dict(changes)))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(f"{where}: {', '.join(missing)} must be set, as a whole part is new")
        recipe = cast(RecipeConfig, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    recipe.check(where)
    return recipe


_PARTS = tuple(RecipeConfig.__dataclass_fields__)
