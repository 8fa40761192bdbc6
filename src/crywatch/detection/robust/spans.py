"""A range that a number is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError


@dataclass  # not frozen: OmegaConf merges into it
class Span:
    """From ``min`` to ``max``."""

    min: float
    max: float

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """[n] numbers, evenly spread."""
        return rng.uniform(self.min, self.max, n)

    def check(self, key: str, above: float = -np.inf) -> None:
        """ConfigError, naming ``key``, for a range that cannot be."""
        if not above < self.min <= self.max:
            bound = f"{above:g} < " if np.isfinite(above) else ""
            raise ConfigError(
                f"{key}: min is {self.min:g} and max {self.max:g}: set {bound}min <= max"
            )


def check_share(key: str, share: float) -> None:
    """ConfigError, naming ``key``, for what is no share."""
    if not 0 <= share <= 1:
        raise ConfigError(f"{key} is {share:g}: set it within 0 and 1")
