"""One scale for all versions of an infant's model, and for all infants.

A score means something only under the version that gave it: a refit moves centre and spread, and
the moved numbers would look like a change of the infant. Two scales are free of that:

- distance = (score - centre) / (high - centre) by the band of the version in force. It has no
  upper end, so it shows how far out a recording is; its distribution is not known.
- z = Phi^-1(1 - p + 1 / (2 (n + 1))), the normal deviate of the conformal p, in the middle of the
  step that p can tell with n calibration units. While nothing changes p is uniform on its n + 1
  steps whatever the scores' distribution, so z has mean 0 and a deviation just below 1, and what is
  computed from z has the same limits for every infant with so large a baseline. It cannot go beyond
  Phi^-1(1 - 1 / (2 (n + 1))): from 20 recordings nobody can know more than one in 21.

The trend (`crywatch.infants.timeline.trend`) is computed from z, the picture of the recordings from
distance. A baseline recording's p is its rank among the others' calibration scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.core.errors import TableError

BASELINE, NEW = "baseline", "new"


@dataclass(frozen=True)
class StandardScores:
    """One infant's recordings on common scales; arrays are [recordings], nan where unknown."""

    distance: np.ndarray
    z: np.ndarray  # standard deviations
    promised: np.ndarray  # bool
    units: np.ndarray  # int, independent ones of the calibration, 0 where it has none
    alike: np.ndarray  # int, calibration scores to one unit, which may all be alike


def standardise(followed: pd.DataFrame, bands: pd.DataFrame) -> StandardScores:
    """Both scales for one infant's ``followed`` rows, by its own ``bands``.

    TableError where a recording was scored by a version that has no band, or where only part of a
    baseline is given (its ranks need all of it).
    """
    by_version = bands.set_index("version")
    versions = followed["version"].to_numpy()
    unknown = ~np.isin(versions, by_version.index)
    if unknown.any():
        row = followed.iloc[int(np.argmax(unknown))]
        raise TableError(
            f"table bands: infant {row.infant_id} has no band of version {row.version}, which "
            f"scored {row.clip_id}; both tables must be of one run of stage timeline"
        )
    band = by_version.loc[versions]
    low_to_high = (band["high"] - band["centre"]).to_numpy()
    score = followed["score"].to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = score - band["centre"].to_numpy()
        distance = np.where(low_to_high > 0, above / low_to_high, np.nan)
    steps = np.rint(1 / band["reachable"].to_numpy())  # n + 1
    p = followed["p"].to_numpy(dtype=np.float64).copy()
    baseline = (followed["phase"] == BASELINE).to_numpy()
    p[baseline] = _ranks(score[baseline])
    steps[baseline] = max(1, np.isfinite(score[baseline]).sum())
    z = np.where(steps > 1, deviates(p, steps), np.nan)
    # Clips of a session may be alike: no more of them count than there are sessions.
    scores = np.maximum(steps - 1, 0)
    units = np.minimum(band["sessions"].to_numpy(), scores).astype(np.int64)
    alike = np.maximum(1, np.rint(scores / np.maximum(units, 1))).astype(np.int64)
    return StandardScores(distance, z, band["promised"].to_numpy(dtype=bool), units, alike)


def deviates(p: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
    """z of conformal p-values that are multiples of 1 / ``steps``; nan for nan."""
    from scipy.special import ndtri

    half = 0.5 / np.asarray(steps, dtype=np.float64)
    return ndtri(np.clip(1 - (p - half), half, 1 - half))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """p of each baseline score among the others, from 1 / n to 1; nan where there is no score."""
    known = np.isfinite(scores)
    ordered = np.sort(scores[known])
    out = np.full(len(scores), np.nan)
    # The score itself is counted once: (1 + #{others >= score}) / (others + 1).
    at_least = len(ordered) - np.searchsorted(ordered, scores[known], side="left")
    out[known] = at_least / max(1, len(ordered))
    return out
