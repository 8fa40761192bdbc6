"""A corpus's own silence: how often a sound with no cry in it is called one.

Heard are whole clips of a category of background, and the pauses of cry clips: there the room,
the phone and the codec of a cry are all that is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.decode import read_clean
from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.progress import progress
from crywatch.data.truth import CRY, SILENT_DBFS
from crywatch.detection.systems import System
from crywatch.evaluation.channel_scores import AS_RECORDED, SystemScorer

CLIP, PAUSE = "clip", "pause"
SCALED = "scaled"
FRAME = 400  # samples, 25 ms
PEAK = 0.99  # a scaled stretch is at most so loud: nothing is clipped


@dataclass
class AuditBackgroundConfig:
    """Section ``audit_shortcuts.background``."""

    categories: list[str]  # of clips that hold nothing but background
    below_db: float  # of a pause, under the clip's loudest frame
    min_s: float  # shorter pauses are passed over
    level_dbfs: float  # RMS that stretches are scaled to


@dataclass(frozen=True)
class QuietStretch:
    """A part of a clip with no cry in it."""

    kind: str  # clip, pause
    onset_s: float
    wave: np.ndarray  # [samples] at 16 kHz, whole seconds of it


@dataclass(frozen=True)
class BackgroundRow:
    """One system on one kind of background of one corpus."""

    system: str
    row: str
    corpus: str
    kind: str  # clip, pause
    heard: str  # as recorded, scaled
    n: int  # seconds
    clips: int
    called: float  # share at the threshold
    called_at_1pct: float | None  # at the threshold of 1 % false alarms on part val's others
    mean_score: float


def score_background(
    scorers: Sequence[SystemScorer], clips: pd.DataFrame, config: AuditBackgroundConfig
) -> pd.DataFrame:
    """Table "audit_background" of the test part of ``clips`` (split_clips, labelled)."""
    is_background = clips["category"].isin(config.categories) & (clips["label"] != CRY)
    wanted = clips[(clips["split"] == "test") & (is_background | (clips["label"] == CRY))]
    parts = [pd.DataFrame()]
    for clip in progress(wanted.itertuples(), "audit: background", len(wanted), "clip"):
        wave = read_clean(clip.path)
        whole = QuietStretch(CLIP, 0.0, wave)
        for stretch in pauses(wave, config) if clip.label == CRY else [whole]:
            for level, sound in _levels(stretch.wave, config.level_dbfs).items():
                for scorer in scorers:
                    scores = np.asarray(scorer.detector.score(sound), dtype=np.float64)
                    head = {"system": scorer.system.name, "clip_id": clip.clip_id}
                    head |= {"kind": stretch.kind, "heard": level, "onset_s": stretch.onset_s}
                    starts = np.arange(len(scores), dtype=float)
                    parts.append(pd.DataFrame(head | {"start_s": starts, "score": scores}))
    return pd.concat(parts, ignore_index=True)


def pauses(wave: np.ndarray, config: AuditBackgroundConfig) -> Iterator[QuietStretch]:
    """The quiet parts of a recording [samples] at 16 kHz, of ``min_s`` or more.

    Quiet are 25 ms frames ``below_db`` or more under the loudest one. A pause is mirrored at its
    end to fill its last second: a second half of zeros would be a sound of its own.
    """
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    quiet = power <= power.max(initial=0.0) * 10 ** (-config.below_db / 10)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    for first, last in edges.reshape(-1, 2).tolist():
        if (last - first) * FRAME >= config.min_s * RATE_HZ and not quiet.all():
            part = wave[first * FRAME : last * FRAME]
            length = n_segments(len(part)) * RATE_HZ
            padded = np.pad(part, (0, max(0, length - len(part))), mode="symmetric")[:length]
            yield QuietStretch(PAUSE, first * FRAME / RATE_HZ, padded)


def _levels(wave: np.ndarray, level_dbfs: float) -> dict[str, np.ndarray]:
    """The sound as recorded, and at one level; digital silence cannot be scaled."""
    levels = {AS_RECORDED: wave}
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    if rms >= 10 ** (SILENT_DBFS / 20):
        gain = min(10 ** (level_dbfs / 20) / rms, PEAK / float(np.abs(wave).max()))
        levels[SCALED] = (wave * np.float32(gain)).astype(np.float32)
    return levels


def background_rows(
    systems: Sequence[System],
    scores: pd.DataFrame,
    clips: pd.DataFrame,
    threshold: float,
    thresholds_1pct: Mapping[str, float],
) -> Iterator[BackgroundRow]:
    """Shares called a cry by corpus, kind and level."""
    if scores.empty:
        return
    seconds = scores.merge(clips[["clip_id", "corpus"]], on="clip_id", validate="many_to_one")
    keys = ["corpus", "kind", "heard"]
    for system in systems:
        at_1pct = thresholds_1pct.get(system.name)
        for (corpus, kind, level), frame in seconds[seconds["system"] == system.name].groupby(keys):
            values = frame["score"].to_numpy()
            yield BackgroundRow(
                system=system.name,
                row=system.row,
                corpus=str(corpus),
                kind=str(kind),
                heard=str(level),
                n=len(values),
                clips=frame["clip_id"].nunique(),
                called=float((values >= threshold).mean()),
                called_at_1pct=None if at_1pct is None else float((values >= at_1pct).mean()),
                mean_score=float(values.mean()),
            )
