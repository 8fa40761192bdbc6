"""What a batch is made of: clips by class and corpus, groups within a corpus, copies and seconds.

A corpus is drawn in proportion to its seconds of the class to ``corpus_power`` and its factor in
``corpora``, a group within it by its number of clips to ``group_power``: powers of 0 draw all
alike, of 1 every clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.activity import (
    FRAME,
    RATE_HZ,
    ActivityConfig,
    cry_starts,
    frame_levels,
    other_starts,
    pause_starts,
)
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.truth import Truth
from crywatch.detection.robust.sounds import CLEAN, TEACHER_HOP_S, Sounds
from crywatch.detection.robust.spans import check_share

SAMPLES = RATE_HZ  # of a second


@dataclass  # not frozen: OmegaConf merges into it
class DrawsConfig:
    """How a batch is drawn."""

    cry_share: float  # of a batch
    corpus_power: float
    group_power: float
    pauses: float  # share of the other sounds that are pauses of crying clips
    codec: float  # share of what is drawn that went through a codec, where there are copies
    corpora: dict[str, float]  # that are drawn so many times as often
    categories: dict[str, float]  # publishers' classes, the same within a corpus
    activity: ActivityConfig

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        for name in ("cry_share", "pauses", "codec"):
            check_share(f"{key}.{name}", getattr(self, name))
        check_share(f"{key}.activity.least_share", self.activity.least_share)
        for name, weight in self.categories.items():
            if weight < 0:
                raise ConfigError(f"{key}.categories.{name} is {weight:g}: set it to 0 or more")
        for name, weight in self.corpora.items():
            if weight <= 0:
                raise ConfigError(
                    f"{key}.corpora.{name} is {weight:g}: set it above 0, or leave the corpus out "
                    "by a variant's leave_out"
                )


@dataclass(frozen=True)
class DrawnSeconds:
    """Seconds of sound, row by row."""

    waves: np.ndarray  # [n, 8000] float32 at 8 kHz
    corpora: np.ndarray  # [n] number of the corpus
    classes: np.ndarray | None  # [n, classes] a teacher's scores of the second; None without one


class Pool:
    """The seconds of one kind: of cries, of other sounds, or of pauses in crying clips."""

    def __init__(
        self,
        clips: pd.DataFrame,
        starts: list[np.ndarray],
        sounds: Sounds,
        config: DrawsConfig,
        corpora: list[str],
    ):
        rows = [index for index, clip_starts in enumerate(starts) if len(clip_starts)]
        clips = clips.iloc[rows].reset_index(drop=True)
        starts = [starts[index] for index in rows]
        self.clip_ids = clips["clip_id"].tolist()
        self.corpora = corpora
        self._sounds = sounds
        self._codec = config.codec
        self._starts = np.concatenate([[], *starts]).astype(np.int64)
        self._count = np.array([len(clip_starts) for clip_starts in starts], dtype=np.int64)
        self._first = np.cumsum(self._count) - self._count
        self._corpus = np.array([corpora.index(name) for name in clips["corpus"]], dtype=np.int64)
        copies = [CLEAN, *sounds.codecs]
        # A clip may lack copies; then the clean one stands for them.
        self._places = [
            [sounds.place(c, copy if sounds.has(c, copy) else CLEAN) for copy in copies]
            for c in self.clip_ids
        ]
        self._weights = np.cumsum(_weights(clips, config)) if len(clips) else np.zeros(0)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def draw(
        self, rng: np.random.Generator, n: int, speeds: np.ndarray | None = None
    ) -> DrawnSeconds:
        """``n`` seconds; ``speeds`` [n] are how much faster each is played."""
        clip_rows = np.searchsorted(self._weights, rng.random(n) * self._weights[-1], side="right")
        clip_rows = np.minimum(clip_rows, len(self) - 1)
        which = np.floor(rng.random(n) * self._count[clip_rows]).astype(np.int64)
        starts = FRAME * self._starts[self._first[clip_rows] + which] + rng.integers(0, FRAME, n)
        coded = rng.random(n) < self._codec
        n_codecs = len(self._sounds.codecs)
        copies = np.where(coded, 1 + rng.integers(0, max(1, n_codecs), n), 0) if n_codecs else 0
        copies = np.broadcast_to(copies, n)
        waves = np.zeros((n, SAMPLES), dtype=np.float32)
        for row, (clip, start, copy) in enumerate(zip(clip_rows, starts, copies, strict=True)):
            place = self._places[clip][copy]
            source = self._sounds.samples(place.copy, place.corpus)
            speed = 1.0 if speeds is None else float(speeds[row])
            _take(source, place.first + start, place.first + place.samples, speed, waves[row])
        return DrawnSeconds(waves, self._corpus[clip_rows], self._teach(clip_rows, starts))

    def _teach(self, clip_rows: np.ndarray, starts: np.ndarray) -> np.ndarray | None:
        teacher = self._sounds.teacher
        if teacher is None:
            return None
        windows = np.rint(starts / (TEACHER_HOP_S * RATE_HZ)).astype(np.int64)
        rows = []
        for clip, window in zip(clip_rows, windows, strict=True):
            where = teacher.rows(self.clip_ids[clip])
            row = min(where.first + window, where.last - 1)
            rows.append(teacher.array(where.corpus)[row])
        return np.stack(rows).astype(np.float32)


def _take(source: np.ndarray, first: int, end: int, speed: float, out: np.ndarray) -> None:
    """Fill ``out`` from ``source`` between ``first`` and ``end``; zeros behind it."""
    if speed == 1.0:
        samples = source[first : min(first + len(out), end)]
        out[: len(samples)] = samples
        return
    samples = source[first : min(first + int(speed * len(out)) + 1, end)].astype(np.float32)
    at = speed * np.arange(len(out))
    out[:] = np.interp(at, np.arange(len(samples)), samples, right=0.0)


def _weights(clips: pd.DataFrame, config: DrawsConfig) -> np.ndarray:
    """[clips] that sum to 1."""
    groups = clips.groupby(["corpus", "group_id"])["clip_id"].transform("size").to_numpy()
    within = groups.astype(float) ** (config.group_power - 1)
    within *= clips["category"].map(lambda name: config.categories.get(name, 1.0)).to_numpy()
    of_corpus = clips["corpus"]
    whole = pd.Series(within).groupby(of_corpus.to_numpy()).transform("sum").to_numpy()
    if not whole.all():
        raise ConfigError(
            f"train_robust.draws.categories leaves nothing to draw of the {clips['label'].iloc[0]} "
            f"sounds of {of_corpus[whole == 0].iloc[0]}: set one of its categories above 0"
        )
    within /= whole
    seconds = clips.groupby("corpus")["duration_s"].sum() ** config.corpus_power
    seconds *= [config.corpora.get(name, 1.0) for name in seconds.index]
    return within * of_corpus.map(seconds / seconds.sum()).to_numpy()


@dataclass(frozen=True)
class Pools:
    """What is drawn from, kind by kind."""

    cries: Pool
    others: Pool
    pauses: Pool
    corpora: list[str]
    n_classes: int  # of the teacher; 0 without one


def pools(clips: pd.DataFrame, events: pd.DataFrame, sounds: Sounds, config: DrawsConfig) -> Pools:
    """Of ``clips`` (canonical, labelled) and their strong labels; TableError without a class."""
    corpora = sorted(clips["corpus"].unique())
    truth = Truth(clips, events)
    parts = {}
    for label in ("cry", "other"):
        rows = clips[clips["label"] == label].reset_index(drop=True)
        if rows.empty:
            raise TableError(f"train_robust: nothing to train on is labelled {label}")
        parts[label] = rows
    starts: dict[str, list[np.ndarray]] = {"cry": [], "pause": [], "other": []}
    for clip_id in parts["cry"]["clip_id"]:
        levels = frame_levels(sounds.frames(clip_id))
        crying = _crying(truth, clip_id, len(levels))
        starts["cry"].append(cry_starts(levels, crying, config.activity))
        starts["pause"].append(pause_starts(levels, crying, config.activity))
    for clip_id in parts["other"]["clip_id"]:
        starts["other"].append(other_starts(frame_levels(sounds.frames(clip_id))))
    return Pools(
        Pool(parts["cry"], starts["cry"], sounds, config, corpora),
        Pool(parts["other"], starts["other"], sounds, config, corpora),
        Pool(parts["cry"], starts["pause"], sounds, config, corpora),
        corpora,
        0 if sounds.teacher is None else sounds.teacher.info.dim,
    )


def _crying(truth: Truth, clip_id: str, n_frames: int) -> np.ndarray:
    """[frames] bool: strong labels allow a cry there."""
    if not truth.is_strong(clip_id):
        return np.ones(n_frames, dtype=bool)
    middle_s = (np.arange(n_frames) + 0.5) * FRAME / RATE_HZ
    inside = np.zeros(n_frames, dtype=bool)
    for cry in truth.cries(clip_id):
        inside |= (middle_s >= cry.onset_s) & (middle_s < cry.offset_s)
    return inside
