"""The limit of the evidence: how often an infant that does not change would pass it.

Textbook limits hold for a known normal. Here it is known from a few sessions, and an infant whose
baseline happened to be quiet looks unusual for ever after: limits for a known normal would be
passed far too often. But conformal p depends on ranks alone, so what happens while nothing changes
is the same for every distribution of scores and can be simulated: draw a baseline of n, draw
sessions, and run the very sum that is run on infants. The limit is passed by at most the wanted
share of such infants. Where the baseline's sessions have several recordings, the worst is taken:
that those of a session are all alike, so that p has fine steps and rests on few sessions all the
same. Later sessions of several recordings vary less than the simulated ones of one, and keep the
limit all the more.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from crywatch.infants.timeline.config import CusumConfig
from crywatch.infants.timeline.standard import deviates

MOST_UNITS = 500  # beyond, a baseline is as good as known
MOST_ALIKE = 20
_EXACT = 40  # units up to which each number has its own limit; above, the next lower ten


def cusum_limit(units: int, alike: int, config: CusumConfig, seed: int) -> float:
    """For a calibration of ``units`` times ``alike`` scores; equal arguments give equal limits."""
    units = min(units, MOST_UNITS)
    if units > _EXACT:
        units -= units % 10
    runs = config.reference, config.run_sessions, config.share, config.draws
    return _limit(max(1, units), min(alike, MOST_ALIKE), *runs, seed)


@lru_cache(maxsize=4096)
def _limit(
    units: int,
    alike: int,
    reference: float,
    run_sessions: int,
    share: float,
    draws: int,
    seed: int,
) -> float:
    rng = np.random.default_rng([seed, units, alike])
    z = simulate_unchanged(units, alike, draws, run_sessions, rng)
    return float(np.quantile(highest_evidence(z, reference), 1 - share, method="higher"))


def simulate_unchanged(
    units: int, alike: int, draws: int, sessions: int, rng: np.random.Generator
) -> np.ndarray:
    """z [draws, sessions] of infants that stay as their baselines were.

    A baseline is ``units`` independent scores, each of them ``alike`` times.
    """
    # Ranks are the same for any distribution: numbers in 0..1, a whole number apart by infant.
    apart = 2.0 * np.arange(draws)[:, None]
    known = np.sort((rng.random((draws, units)) + apart).ravel())
    new = rng.random((draws, sessions)) + apart
    below = (
        np.searchsorted(known, new.ravel()).reshape(new.shape) - units * np.arange(draws)[:, None]
    )
    steps = units * alike + 1
    return deviates((1 + alike * (units - below)) / steps, steps)


def highest_evidence(z: np.ndarray, reference: float) -> np.ndarray:
    """The highest evidence [draws] of each row of session means [draws, sessions]."""
    held = np.zeros(len(z))
    peak = np.zeros(len(z))
    for column in z.T:
        held = np.maximum(0.0, held + column - reference)
        peak = np.maximum(peak, held)
    return peak
