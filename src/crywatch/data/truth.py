"""What is known of every second of a clip: from strong labels where there are any, else its own.

A clip with cries in the events table is strongly labelled. So is any other sound: none of its
seconds is a cry. Of a crying clip without such events, each second has its label, unless it is weak
(column ``weak`` of its table): then a cry is somewhere in it, and no second of it is known. All
that reads labels by the second asks here, and gets an error where it forgot to ask `is_weak`.
Where it is said so, `silent_seconds` are left out: whatever the clip, nothing is heard in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.segments import cut
from crywatch.core.errors import TableError

CRY = "cry"
CRY_S = 0.5  # of crying in a segment that counts as cry
SILENT_BELOW_DB = 40.0  # under the clip's loudest second
SILENT_DBFS = -75.0


@dataclass(frozen=True)
class Interval:
    """A stretch of a recording."""

    onset_s: float
    offset_s: float


def cut_at(intervals: Iterable[Interval], duration_s: float) -> list[Interval]:
    """``intervals`` cut off where the recording ends: publishers round their times."""
    return [
        Interval(interval.onset_s, min(interval.offset_s, duration_s))
        for interval in intervals
        if interval.onset_s < duration_s
    ]


class Truth:
    """Labels of the segments and events of ``clips`` (clip_id, label, weak), by ``events``."""

    def __init__(self, clips: pd.DataFrame, events: pd.DataFrame):
        self._labels = dict(zip(clips["clip_id"], clips["label"], strict=True))
        self._weak = set(clips.loc[clips["weak"], "clip_id"])
        cries: dict[str, list[Interval]] = {}
        others: dict[str, list[Interval]] = {}
        columns = [events[name] for name in ("clip_id", "onset_s", "offset_s", "label")]
        for clip_id, onset_s, offset_s, label in zip(*columns, strict=True):
            by_clip = cries if label == CRY else others
            by_clip.setdefault(clip_id, []).append(Interval(float(onset_s), float(offset_s)))
        self._cries = {clip_id: merged(intervals) for clip_id, intervals in cries.items()}
        self._others = {clip_id: merged(intervals) for clip_id, intervals in others.items()}

    def is_strong(self, clip_id: str) -> bool:
        """Whether it is known when the clip cries, and when not."""
        return clip_id in self._cries or self._labels[clip_id] != CRY

    def is_weak(self, clip_id: str) -> bool:
        """Whether a cry is somewhere in the clip, and it is not known of any second."""
        return clip_id in self._weak and not self.is_strong(clip_id)

    def cries(self, clip_id: str) -> list[Interval]:
        """The cries of a strongly labelled clip, in order and apart from each other."""
        return self._cries.get(clip_id, [])

    def others(self, clip_id: str) -> list[Interval]:
        """Its other labelled sounds, of whatever class."""
        return self._others.get(clip_id, [])

    def segments(self, clip_id: str, count: int, segment_s: float = 1.0) -> np.ndarray:
        """[count] bool: half a second of the segment or more is crying; TableError if weak."""
        if self.is_weak(clip_id):
            raise TableError(f"{clip_id}: a weak clip, of which no second's label is known")
        if not self.is_strong(clip_id):
            return np.ones(count, dtype=bool)
        return crying_segments(self.cries(clip_id), count, segment_s)


def crying_segments(cries: list[Interval], count: int, segment_s: float = 1.0) -> np.ndarray:
    """[count] bool: at least `CRY_S` of the segment lies in ``cries``, which do not overlap."""
    starts = segment_s * np.arange(count)
    covered_s = np.zeros(count)
    for cry in cries:
        inside = np.minimum(starts + segment_s, cry.offset_s) - np.maximum(starts, cry.onset_s)
        covered_s += np.clip(inside, 0, segment_s)
    return covered_s >= CRY_S - 1e-9


def silent_seconds(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to [plain seconds] bool: 40 dB or more under the loudest second of the
    clip, or under -75 dBFS, by their RMS."""
    power = np.mean(np.square(cut(wave), dtype=np.float64), axis=1)
    level_db = 10 * np.log10(np.maximum(power, 1e-20))
    loudest_db = level_db.max(initial=SILENT_DBFS)
    return (level_db <= loudest_db - SILENT_BELOW_DB) | (level_db < SILENT_DBFS)


def merged(intervals: list[Interval]) -> list[Interval]:
    """In order, those that overlap or touch as one."""
    apart: list[Interval] = []
    for interval in sorted(intervals, key=lambda one: (one.onset_s, one.offset_s)):
        if apart and interval.onset_s <= apart[-1].offset_s:
            last = apart.pop()
            interval = Interval(last.onset_s, max(last.offset_s, interval.offset_s))
        apart.append(interval)
    return apart
