"""What a probe is given of every audible second: front ends, and the features of networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.audio.decode import read_clean
from crywatch.audio.segments import cut, n_segments
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress
from crywatch.data.truth import silent_seconds
from crywatch.detection.embedders.base import EmbedderConfig
from crywatch.detection.embedders.logmel import BANDS, LogMel
from crywatch.evaluation.channel_scores import SystemScorer

LEVEL, LOGMEL = "level alone", "log-mel, mean and deviation"
QUIET = 1e-10  # stands for the amplitude of digital silence
Vectors = Callable[[np.ndarray], np.ndarray]  # [samples] at 16 kHz to [plain seconds, d]
CLIP_COLUMNS = ("clip_id", "corpus", "label", "split", "group_id")


@dataclass(frozen=True)
class ProbeInput:
    """Something a probe can be given."""

    name: str
    row: str  # of a table: the name without the system's seed
    system_row: str  # of the system whose features these are, "" for a front end
    vectors: Vectors


@dataclass(frozen=True)
class ProbedSeconds:
    """The audible seconds of the clips that are probed."""

    table: pd.DataFrame  # a row a second: `CLIP_COLUMNS`
    vectors: dict[str, np.ndarray]  # by the name of a source: [seconds, d] float32


def sources(scorers: Sequence[SystemScorer]) -> list[ProbeInput]:
    """Level, log-mel, the pictures of the networks (one of each kind), and their features."""
    logmel = LogMel(EmbedderConfig("logmel", 2 * BANDS, ""))
    front_ends: dict[str, Vectors] = {LEVEL: levels, LOGMEL: logmel.embed}
    for scorer in scorers:
        pictures = getattr(scorer.detector, "pictures", None)
        name = f"picture of {scorer.system.family}, mean and deviation"
        if pictures is not None and name not in front_ends:
            front_ends[name] = _averaged(pictures)
    networks = [
        ProbeInput(f"features of {system.name}", f"features of {system.row}", system.row, features)
        for system, features in (
            (scorer.system, getattr(scorer.detector, "features", None)) for scorer in scorers
        )
        if features is not None
    ]
    return [
        *(ProbeInput(name, name, "", vectors) for name, vectors in front_ends.items()),
        *networks,
    ]


def chosen(clips: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most ``most`` clips of each corpus and label, by turns from its groups.

    Duplicates stay: what two corpora made of one recording differs by nothing but their channels.
    """
    digest = [hashlib.sha256(clip_id.encode()).hexdigest() for clip_id in clips["clip_id"]]
    ordered = clips.assign(digest=digest).sort_values("digest", kind="stable")
    turn = ordered.groupby(["corpus", "label", "group_id"], sort=False).cumcount()
    ordered = ordered.assign(turn=turn).sort_values(["turn", "digest"], kind="stable")
    first = ordered.groupby(["corpus", "label"], sort=False).head(most)
    return clips.loc[first.index.sort_values()]


def hear(clips: pd.DataFrame, probed: Sequence[ProbeInput]) -> ProbedSeconds:
    """What every source makes of ``clips`` (split_clips), silent seconds left out."""
    rows: list[pd.DataFrame] = []
    vectors: dict[str, list[np.ndarray]] = {source.name: [] for source in probed}
    for clip in progress(clips.itertuples(), "audit: probe", len(clips), "clip"):
        wave = read_clean(clip.path)
        audible = np.flatnonzero(~silent_seconds(wave))
        head = {name: getattr(clip, name) for name in CLIP_COLUMNS}
        rows.append(pd.DataFrame(head, index=audible))
        for source in probed:
            of_second = source.vectors(wave)
            if len(of_second) != n_segments(len(wave)):
                raise ConfigError(
                    f"audit_shortcuts.systems: {source.name}: a vector for each plain second is "
                    "needed; leave systems out whose front end takes longer segments"
                )
            vectors[source.name].append(of_second[audible].astype(np.float32))
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=CLIP_COLUMNS)
    return ProbedSeconds(
        table, {name: np.concatenate(parts) for name, parts in vectors.items() if parts}
    )


def levels(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to [plain seconds, 2]: RMS and peak in dBFS."""
    seconds = cut(wave)
    rms = np.sqrt(np.mean(np.square(seconds, dtype=np.float64), axis=1))
    peak = np.abs(seconds).max(axis=1, initial=0.0)
    return 20 * np.log10(np.maximum(np.stack([rms, peak], axis=1), QUIET))


def _averaged(pictures: Callable[[np.ndarray], np.ndarray]) -> Vectors:
    """Mean and deviation over the frames of pictures [plain seconds, bands, frames]."""

    def vectors(wave: np.ndarray) -> np.ndarray:
        frames = pictures(wave)
        return np.concatenate([frames.mean(axis=2), frames.std(axis=2)], axis=1)

    return vectors
