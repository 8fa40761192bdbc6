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
    def of(values: Sequence[float | None], share: bool = False) -> Estimate | None:
        """One value an infant; None where none is known. A share's interval stays in 0..1."""
        from scipy.stats import t

        known = np.array([value for value in values if value is not None], dtype=float)
        if not len(known):
            return None
        mean = float(known.mean())
        if len(known) == 1:
            return Estimate(mean, None, None, 1)
        error = known.std(ddof=1) / np.sqrt(len(known))
        reach = float(t.ppf((1 + LEVEL) / 2, len(known) - 1) * error)
        least, most = (0.0, 1.0) if share else (-np.inf, np.inf)
        return Estimate(mean, max(mean - reach, least), min(mean + reach, most), len(known))
