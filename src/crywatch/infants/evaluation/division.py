"""Dividing an infant's recordings by time: the baseline is what came first, the test what followed.

Never by random clips: clips of one session share a room, a phone and a mood, and a model that has
heard half of a session finds the other half normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError, TableError


@dataclass
class DivisionConfig:
    """Section ``division``."""

    baseline_share: float  # of an infant's clips, about: sessions are not cut
    least_baseline_sessions: int  # two are needed to calibrate
    least_baseline_clips: int
    least_test_clips: int

    def __post_init__(self) -> None:
        least = self.least_baseline_sessions, self.least_baseline_clips, self.least_test_clips
        if not 0 < self.baseline_share < 1 or min(least) < 1:
            raise ConfigError(
                f"division: baseline_share {self.baseline_share} must be between 0 and 1, the "
                "least numbers at least 1"
            )


@dataclass(frozen=True)
class Division:
    """Row numbers in the order of time."""

    baseline: np.ndarray
    test: np.ndarray
    reason: str = ""  # why there is none; then both are empty

    @property
    def usable(self) -> bool:
        """Whether there is a baseline and a test."""
        return not self.reason


def divide(sessions: np.ndarray, times: np.ndarray, config: DivisionConfig) -> Division:
    """Divide clips with ``sessions`` [n] and ``times`` [n] (numbers or datetime64).

    Every baseline clip is earlier than every test clip, and no session is on both sides; sessions
    that overlap in time stay together. Among the borders that leave enough on both sides the one
    nearest to ``baseline_share`` is taken; where there is none, or a time is missing, the reason
    says so. Raises TableError if the two do not have the same length.
    """
    sessions, times = np.asarray(sessions), np.asarray(times)
    if len(sessions) != len(times):
        raise TableError(f"{len(sessions)} sessions for {len(times)} times: give one a clip")
    missing = int((np.isnat(times) if times.dtype.kind in "mM" else np.isnan(times)).sum())
    if missing:
        return _none(f"{missing} of {len(times)} clips have no time, so none is known to be later")
    order = np.argsort(times, kind="stable")
    borders = _borders(sessions[order], times[order])
    named = sessions[order]
    best, distance = None, np.inf
    for border in borders:
        before, after = border, len(order) - border
        held = len(np.unique(named[:border]))
        if (
            held >= config.least_baseline_sessions
            and before >= config.least_baseline_clips
            and after >= config.least_test_clips
        ):
            off = abs(before / len(order) - config.baseline_share)
            if off < distance:
                best, distance = border, off
    if best is None:
        return _none(
            f"{len(order)} clips in {len(np.unique(sessions))} session(s) leave no border in time "
            f"with {config.least_baseline_sessions} sessions and {config.least_baseline_clips} "
            f"clips before it and {config.least_test_clips} clips after it"
        )
    return Division(order[:best], order[best:])


def _borders(sessions: np.ndarray, times: np.ndarray) -> list[int]:
    """Numbers of clips, in order of time, after which no earlier session goes on."""
    last = {session: row for row, session in enumerate(sessions.tolist())}
    open_until, out = -1, []
    for row, session in enumerate(sessions.tolist()):
        open_until = max(open_until, last[session])
        if row == open_until and row + 1 < len(sessions) and times[row] < times[row + 1]:
            out.append(row + 1)
    return out


def _none(reason: str) -> Division:
    return Division(np.zeros(0, dtype=int), np.zeros(0, dtype=int), reason)
