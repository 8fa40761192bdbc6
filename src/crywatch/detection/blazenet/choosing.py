"""Which segments a variant trains on: its line of Table 4, and what is left out of it after all.

`active_segments` asks of a second what the robust training asks (`crywatch.audio.activity`);
`loud_segments` leaves out what the authors' code takes for silence; `balanced_segments` draws what
the paper draws: about as many other sounds as cries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.audio import activity
from crywatch.audio.activity import SECOND, ActivityConfig, cry_starts, frame, frame_levels
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.resampling import resample
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.features import FeatureStore
from crywatch.data.selection import Source, labelled, sounds, strong_labels
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import MINED
from crywatch.data.truth import Truth
from crywatch.detection.blazenet.data import SegmentRef
from crywatch.detection.blazenet.frontend import FrontEndConfig, segments_of

MINED_PUBLISHED = "mined_published"
SEGMENTS = (  # soundscapes: all, and those of the soundscapes
    *("all", "random", "mined_both", "mined_pos", "mined_neg", "mined_untrimmed"),
    *(MINED_PUBLISHED, "soundscapes"),
)
OF_ALL_CORPORA = ("mined", "soundscapes")  # how the names begin of what no corpus can leave
RANDOM_SEGMENTS = 2  # of a clip (Table 4, line 2)


@dataclass
class BlazenetVariant:
    """One line of Table 4."""

    segment_s: float
    segments: str  # which segments are trained on, see SEGMENTS
    leave_out: str  # corpus, or ""
    recipe: str = "ours"  # of train_blazenet.recipes
    seed: int = 1
    row: str = ""  # of a table: the name without the seed; "" for the name
    embeddings: bool = False  # its numbers for each second are written, for an anomaly head
    balanced: bool = False  # as many other segments as cries are drawn, where there are more
    active: bool = False  # seconds of a cry clip without onsets count only where it is active

    def training(self) -> dict[str, Any]:
        """What decides the weights."""
        return {k: v for k, v in vars(self).items() if k not in ("embeddings", "row")}


@dataclass(frozen=True)
class BlazenetInputs:
    """The files the stage reads."""

    features: Path  # of the front end of the variant
    split: Source
    soundscapes: Source
    untrimmed_clips: Path
    mined_trimmed: Path
    mined_untrimmed: Path
    mined_published: Path  # of AudioSet's features; read by its variant alone


def plain_segments(
    clips: pd.DataFrame, store: FeatureStore, events: pd.DataFrame
) -> list[SegmentRef]:
    """Every segment of ``clips``, with its own label where there are strong ones."""
    truth = Truth(clips, events)
    refs = []
    for clip_id in clips["clip_id"]:
        rows = store.rows(clip_id)
        crying = truth.segments(clip_id, rows.last - rows.first, store.info.segment_s)
        refs += [SegmentRef(clip_id, i, is_cry) for i, is_cry in enumerate(crying.tolist())]
    return refs


def training_segments(
    variant: BlazenetVariant, inputs: BlazenetInputs, store: FeatureStore
) -> list[SegmentRef]:
    """The segments that a line of Table 4 trains on."""
    if variant.segments not in SEGMENTS:
        raise ConfigError(
            f"segments: {variant.segments!r} is unknown; there are {', '.join(SEGMENTS)}"
        )
    if variant.leave_out and variant.segments.startswith(OF_ALL_CORPORA):
        raise ConfigError(
            f"segments: {variant.segments} with leave_out {variant.leave_out!r}: the miner, the "
            "untrimmed recordings and the soundscapes know every corpus; with leave_out there are "
            "all, random"
        )
    bags = {
        "mined_untrimmed": (inputs.untrimmed_clips, inputs.mined_untrimmed),
        MINED_PUBLISHED: (inputs.split.clips, inputs.mined_published),
    }
    if variant.segments in bags:
        table, seconds = bags[variant.segments]
        clips = labelled(table, weak=True)
        return _mined_segments(clips[clips["split"] == "train"], seconds, variant, store)
    clips = labelled(inputs.split.clips, variant.leave_out)
    clips = clips[clips["split"] == "train"]
    events = strong_labels([inputs.split.events])
    cries, others = clips[clips["label"] == "cry"], clips[clips["label"] == "other"]
    if variant.segments == "all":
        return plain_segments(clips, store, events)
    if variant.segments == "soundscapes":
        scenes = labelled(inputs.soundscapes.clips)
        scenes = scenes[scenes["split"] == "train"]
        known = strong_labels([inputs.soundscapes.events])
        return plain_segments(clips, store, events) + plain_segments(scenes, store, known)
    if variant.segments == "random":
        return _draw_segments(plain_segments(clips, store, events), variant.seed)
    if variant.segments == "mined_both":
        return _mined_segments(clips, inputs.mined_trimmed, variant, store)
    if variant.segments == "mined_pos":
        mined = _mined_segments(cries, inputs.mined_trimmed, variant, store)
        return mined + plain_segments(others, store, events)
    mined = _mined_segments(others, inputs.mined_trimmed, variant, store)
    return plain_segments(cries, store, events) + mined


def _draw_segments(refs: list[SegmentRef], seed: int) -> list[SegmentRef]:
    by_clip: dict[str, list[SegmentRef]] = {}
    for ref in refs:
        by_clip.setdefault(ref.clip_id, []).append(ref)
    rng = np.random.default_rng(seed)
    drawn_refs = []
    for members in by_clip.values():
        count = min(RANDOM_SEGMENTS, len(members))
        picked = rng.choice(len(members), count, replace=False)
        drawn_refs += [members[index] for index in sorted(picked.tolist())]
    return drawn_refs


def _mined_segments(
    clips: pd.DataFrame, table: Path, variant: BlazenetVariant, store: FeatureStore
) -> list[SegmentRef]:
    if variant.segment_s != 1.0:
        raise ConfigError(f"segments: {variant.segments} needs segment_s 1.0: seconds are mined")
    labels = dict(zip(clips["clip_id"], clips["label"], strict=True))
    mined = read_table(table, MINED)
    mined = mined[mined["clip_id"].isin(labels)]
    refs = []
    for clip_id, start_s in zip(mined["clip_id"], mined["start_s"], strict=True):
        rows = store.rows(clip_id)
        if start_s >= rows.last - rows.first:
            raise TableError(f"{table}: {clip_id} has no second {start_s:g}: run the stage again")
        refs.append(SegmentRef(clip_id, int(start_s), labels[clip_id] == "cry"))
    return refs


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


def loud_segments(
    refs: list[SegmentRef], clips_tables: Iterable[Path], front_end: FrontEndConfig, peak: float
) -> list[SegmentRef]:
    """Without the segments of which no sample, at the front end's rate, is over ``peak``.

    The voice activity detection of the authors' code comes to this: it also asks for a ratio of
    energy to the variance of magnitudes over 0.25, which no sound is below.
    """
    clips = sounds(clips_tables)
    paths = dict(zip(clips["clip_id"], clips["path"], strict=True))
    peaks = {
        clip_id: np.abs(segments_of(read_clean(paths[clip_id]), front_end)).max(axis=1)
        for clip_id in {ref.clip_id for ref in refs}
    }
    return [ref for ref in refs if peaks[ref.clip_id][ref.index] > peak]


def balanced_segments(refs: list[SegmentRef], seed: int) -> list[SegmentRef]:
    """All cries, and at most as many other segments, drawn without regard to their clips."""
    others = [number for number, ref in enumerate(refs) if not ref.is_cry]
    n_cries = len(refs) - len(others)
    if len(others) <= n_cries:
        return refs
    drawn = np.random.default_rng(seed).choice(others, n_cries, replace=False)
    kept = set(drawn.tolist())
    return [ref for number, ref in enumerate(refs) if ref.is_cry or number in kept]
