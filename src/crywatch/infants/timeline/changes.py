"""Change points: where the level of an infant's sessions moved, seen from today.

PELT (Killick et al., 2012) on the sessions' mean z with a squared cost. z has a deviation of 1
while nothing changes, so the penalty needs no estimate of noise: a change point must lower the
squared error by ``penalty`` times the logarithm of the number of sessions. Few sessions are not
guessed at: below ``min_sessions`` the answer is a reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.infants.timeline.config import ChangesConfig


@dataclass(frozen=True)
class ChangePoint:
    """The first session of a new level."""

    session: int
    at: pd.Timestamp
    before: float  # mean z of the level that ended
    after: float

    @property
    def rose(self) -> bool:
        """Away from the infant's normal."""
        return self.after > self.before


@dataclass(frozen=True)
class ChangePoints:
    """Of one infant; levels are between change points."""

    points: tuple[ChangePoint, ...]
    sessions: int  # looked at
    reason: str  # why none was looked for; empty where it was


def find_changes(sessions: pd.DataFrame, config: ChangesConfig) -> ChangePoints:
    """Change points of an infant's table "timeline_sessions", the latest ``most_sessions``."""
    scored = sessions[sessions["z"].notna()].tail(config.most_sessions)
    if len(scored) < config.min_sessions:
        return ChangePoints(
            (),
            len(scored),
            f"too few sessions to look for change points: {len(scored)} with a score, and it "
            f"takes {config.min_sessions}",
        )
    values = scored["z"].to_numpy()
    ends = _ends(values, config)
    levels = [float(part.mean()) for part in np.split(values, ends)]
    points = tuple(
        ChangePoint(
            int(scored["session"].iloc[end]), scored["begin"].iloc[end], levels[n], levels[n + 1]
        )
        for n, end in enumerate(ends)
    )
    return ChangePoints(points, len(scored), "")


def _ends(values: np.ndarray, config: ChangesConfig) -> list[int]:
    """Positions at which a new level begins."""
    import ruptures

    penalty = config.penalty * math.log(len(values))
    model = ruptures.Pelt(model="l2", min_size=config.min_size, jump=1).fit(values)
    return model.predict(pen=penalty)[:-1]
