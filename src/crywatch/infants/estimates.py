"""A mean over infants and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """Mean over infants with Student's 95 % interval: infants are few, recordings of one depend."""

    mean: float
    low: float | None  # None for one infant
    high: float | None
    infants: int

    @staticmethod
    def of(values: Sequence[float | None]) -> Estimate | None:
        """One value an infant; None where none is known."""
        from scipy.stats import t

        known = np.array([value for value in values if value is not None], dtype=float)
        if not len(known):
            return None
        mean = float(known.mean())
        if len(known) == 1:
            return Estimate(mean, None, None, 1)
        error = known.std(ddof=1) / np.sqrt(len(known))
        reach = float(t.ppf((1 + LEVEL) / 2, len(known) - 1) * error)
        return Estimate(mean, mean - reach, mean + reach, len(known))
