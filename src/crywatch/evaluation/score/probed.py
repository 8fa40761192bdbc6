"""What a probe is given of every audible second: front ends, and the features of networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import cut, n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress
from crywatch.data.truth import silent_seconds
from crywatch.evaluation.score.cache import ScoreCache, write_entry, write_vectors
from crywatch.evaluation.score.scorers import Scorer
from crywatch.evaluation.scored import ProbeSource

LEVEL, LOGMEL = "level alone", "log-mel, mean and deviation"
QUIET = 1e-10  # stands for the amplitude of digital silence
Vectors = Callable[[np.ndarray], np.ndarray]  # [samples] at 16 kHz to [plain seconds, d]


@dataclass(frozen=True)
class ProbeInput:
    """Something that makes vectors of seconds."""

    source: ProbeSource
    key: object  # plain values: all that the vectors depend on, beside the clips
    vectors: Vectors


def inputs(scorers: Sequence[Scorer]) -> list[ProbeInput]:
    """Level, log-mel, the pictures of the networks (one of each kind), and their features."""
    code = code_sha256(__name__)
    front_ends = {
        LEVEL: ProbeInput(ProbeSource(LEVEL, LEVEL, ""), [LEVEL, code], levels),
        LOGMEL: ProbeInput(ProbeSource(LOGMEL, LOGMEL, ""), [LOGMEL, code], _logmel()),
    }
    networks = []
    for scorer in scorers:
        system = scorer.system
        pictures, features = (getattr(scorer.detector, n, None) for n in ("pictures", "features"))
        name = f"picture of {system.family}, mean and deviation"
        if pictures is not None and name not in front_ends:
            key = ["pictures", scorer.key, code]
            vectors = _averaged(pictures)
            front_ends[name] = ProbeInput(ProbeSource(name, name, ""), key, vectors)
        if features is not None:
            source = ProbeSource(
                f"features of {system.name}", f"features of {system.row}", system.row
            )
            key = ["features", scorer.key, code]
            networks.append(ProbeInput(source, key, features))
    return [*front_ends.values(), *networks]


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


def hear(given: Sequence[ProbeInput], clips: pd.DataFrame, cache: ScoreCache) -> list[Path]:
    """Entries with what every input makes of the audible seconds of ``clips`` (split_clips).

    The first is the table "probed", the others are vectors [seconds, d] float32, in order.
    """
    sounds = clips[["clip_id", "sha256"]].to_numpy().tolist()
    table = cache.table(["probed", code_sha256("crywatch.data.truth"), sounds])
    entries = {cache.vectors([one.key, table.name]): one for one in given}
    missing = {path: one for path, one in entries.items() if not path.is_file()}
    if missing or not table.is_file():
        heard = _heard(list(missing.values()), clips)
        for path, vectors in zip(missing, heard.vectors, strict=True):
            write_vectors(vectors, path)
        write_entry(heard.table, table)
    return [table, *entries]


@dataclass(frozen=True)
class ProbedSeconds:
    """The audible seconds of the clips that are probed."""

    table: pd.DataFrame  # "probed"
    vectors: list[np.ndarray]  # of each input [seconds, d] float32


def _heard(given: Sequence[ProbeInput], clips: pd.DataFrame) -> ProbedSeconds:
    rows = [pd.DataFrame({"clip_id": [], "start_s": []}).astype({"clip_id": object})]
    parts: list[list[np.ndarray]] = [[] for _ in given]
    shown = progress(clips.itertuples(), "score, probes", len(clips), "clip")
    for clip in shown:
        wave = read_clean(clip.path)
        audible = np.flatnonzero(~silent_seconds(wave))
        rows.append(pd.DataFrame({"clip_id": clip.clip_id, "start_s": audible.astype(float)}))
        for one, mine in zip(given, parts, strict=True):
            of_second = one.vectors(wave)
            if len(of_second) != n_segments(len(wave)):
                raise ConfigError(
                    f"score.audited.systems: {one.source.name}: a vector for each plain second is "
                    "needed; leave systems out whose front end takes longer segments"
                )
            mine.append(of_second[audible].astype(np.float32))
    empty = np.zeros((0, 1), dtype=np.float32)
    vectors = [np.concatenate(mine) if mine else empty for mine in parts]
    return ProbedSeconds(pd.concat(rows, ignore_index=True), vectors)


def levels(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to [plain seconds, 2]: RMS and peak in dBFS."""
    seconds = cut(wave)
    rms = np.sqrt(np.mean(np.square(seconds, dtype=np.float64), axis=1))
    peak = np.abs(seconds).max(axis=1, initial=0.0)
    return 20 * np.log10(np.maximum(np.stack([rms, peak], axis=1), QUIET))


def _logmel() -> Vectors:
    from crywatch.detection.embedders.base import EmbedderConfig
    from crywatch.detection.embedders.logmel import BANDS, LogMel

    return LogMel(EmbedderConfig("logmel", 2 * BANDS, "")).embed


def _averaged(pictures: Callable[[np.ndarray], np.ndarray]) -> Vectors:
    """Mean and deviation over the frames of pictures [plain seconds, bands, frames]."""

    def vectors(wave: np.ndarray) -> np.ndarray:
        frames = pictures(wave)
        return np.concatenate([frames.mean(axis=2), frames.std(axis=2)], axis=1)

    return vectors
