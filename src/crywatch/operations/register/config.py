"""Section ``register``: what is registered, and the limits of the gates."""

from __future__ import annotations

from dataclasses import dataclass

from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError
from crywatch.metrics.paired import METRICS

POOLED, ALL = "pooled", "all"
KINDS = ("ranked", "found", "called", "confuser", "noise", "false_alarms")


@dataclass
class MainConfig:
    """What a challenger must be better at."""

    scope: str  # POOLED or ALL
    metric: str  # per second, of `paired.METRICS`
    least: float  # the gain must be above it
    p: float  # two-sided


@dataclass
class Guard:
    """How much a kind of slice may lose."""

    tolerance: float  # so much is no loss
    most: float  # more than this is one, however wide the interval


@dataclass
class InfantsConfig:
    """Infants over twice the promised rate of false alarms."""

    model: str
    more: int


@dataclass
class FirstConfig:
    """Floors of a model that has no champion before it."""

    main: float  # of the main metric
    false_alarms_per_hour: float
    infants_over_twice: float  # share


@dataclass(frozen=True)
class RegisterConfig:
    """Section ``register``."""

    name: str
    model: str
    part: str
    main: MainConfig
    least_groups: int
    least_lost: int  # clips or cries, net; of shares
    guards: dict[str, Guard]  # of every one of KINDS
    noise_bands_db: list[float]
    infants: InfantsConfig
    first: FirstConfig

    def check(self) -> None:
        """ConfigError where a value cannot be kept."""
        if self.part not in ("val", "test"):
            raise ConfigError(f"register.part: {self.part!r} is no part that was held out: val")
        if self.part == "test":
            raise ConfigError(
                "register.part: the test part chooses nothing, or its numbers say nothing any "
                "more: set val"
            )
        if self.main.scope not in (POOLED, ALL):
            raise ConfigError(f"register.main.scope: {self.main.scope!r} is not {POOLED} or {ALL}")
        if self.main.metric not in METRICS:
            raise ConfigError(
                f"register.main.metric: {self.main.metric!r} is not one of {', '.join(METRICS)}"
            )
        if set(self.guards) != set(KINDS):
            raise ConfigError(f"register.guards: needs exactly {', '.join(KINDS)}")
        for kind, guard in self.guards.items():
            if not 0 <= guard.tolerance <= guard.most:
                raise ConfigError(
                    f"register.guards.{kind}: needs 0 <= tolerance <= most, not "
                    f"{guard.tolerance:g} and {guard.most:g}"
                )
        if sorted(set(self.noise_bands_db)) != list(self.noise_bands_db):
            raise ConfigError("register.noise_bands_db: needs rising borders, each once")
        if self.least_groups < 2 or self.least_lost < 1:
            raise ConfigError("register: needs least_groups of 2 or more and least_lost of 1")

    def limits_sha256(self) -> str:
        """Digest of all that decides, not of what is decided on."""
        decides = {key: repr(v) for key, v in vars(self).items() if key not in ("name", "model")}
        return value_sha256(decides)
