"""Which of a variant's segments are trained on after all: the active seconds, and as many others.

`active_segments` asks of a second what the robust training asks (`crywatch.audio.activity`);
`balanced_segments` draws what the paper draws: about as many other sounds as cries.
"""

from __future__ import annotations

import numpy as np

from crywatch.audio import activity
from crywatch.audio.activity import SECOND, ActivityConfig, cry_starts, frame, frame_levels
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.resampling import resample
from crywatch.data.selection import Source, sounds, strong_labels
from crywatch.data.truth import Truth
from crywatch.detection.blazenet.data import SegmentRef


def active_segments(
    refs: list[SegmentRef], source: Source, config: ActivityConfig
) -> list[SegmentRef]:
    """Without the seconds of ``source``'s cry clips in which hardly a frame is active.

    Clips with onsets are left as they are, and so are recordings of other sources.
    """
    clips = sounds([source.clips])
    truth = Truth(clips, strong_labels([source.events]))
    paths = dict(zip(clips["clip_id"], clips["path"], strict=True))
    asked = {
        ref.clip_id
        for ref in refs
        if ref.is_cry and ref.clip_id in paths and not truth.is_strong(ref.clip_id)
    }
    active = {clip_id: active_seconds(read_clean(paths[clip_id]), config) for clip_id in asked}
    return [ref for ref in refs if ref.index in active.get(ref.clip_id, {ref.index})]


def active_seconds(wave: np.ndarray, config: ActivityConfig) -> set[int]:
    """Plain seconds of a cry clip [samples] at 16 kHz at which a second of crying may begin."""
    levels = frame_levels(frame(resample(wave, RATE_HZ, activity.RATE_HZ)))
    starts = cry_starts(levels, np.ones(len(levels), dtype=bool), config)
    return {int(start) // SECOND for start in starts if start % SECOND == 0}


def balanced_segments(refs: list[SegmentRef], seed: int) -> list[SegmentRef]:
    """All cries, and at most as many other segments, drawn without regard to their clips."""
    others = [number for number, ref in enumerate(refs) if not ref.is_cry]
    n_cries = len(refs) - len(others)
    if len(others) <= n_cries:
        return refs
    drawn = np.random.default_rng(seed).choice(others, n_cries, replace=False)
    kept = set(drawn.tolist())
    return [ref for number, ref in enumerate(refs) if ref.is_cry or number in kept]
