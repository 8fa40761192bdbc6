"""An infant's recordings as they are judged: normal ones, changed ones, and made changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ShiftedClips:
    """Some of an infant's clips after one shift."""

    name: str
    control: bool  # must not alarm
    rows: np.ndarray  # [m], the infant's clip each was made from
    vectors: np.ndarray  # [m, dim]


@dataclass(frozen=True)
class ChangedClips:
    """Recordings of an infant that are known to be abnormal, such as after a planted change.

    They are no baseline and no false alarm; those later than the baseline are positives.
    """

    name: str
    vectors: np.ndarray  # [m, dim]
    times: np.ndarray  # [m], as those of the infant's other clips
    clip_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class InfantClips:
    """All that is known of one infant; ``times`` are numbers or datetime64."""

    infant_id: str
    vectors: np.ndarray  # [clips, dim]
    sessions: np.ndarray  # [clips]
    times: np.ndarray  # [clips]
    shifted: tuple[ShiftedClips, ...] = ()
    changed: tuple[ChangedClips, ...] = ()
    clip_ids: tuple[str, ...] = ()  # where they are known
