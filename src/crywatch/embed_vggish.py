"""Stage ``embed_vggish``: the embedder's numbers for every plain second of every labelled clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.audio import read_clean
from crywatch.digest import code_sha256, value_sha256
from crywatch.embedders import Embedder, EmbedderConfig, build
from crywatch.features import ClipFeatures, FeatureWriter, StoreInfo
from crywatch.progress import progress
from crywatch.segments import RATE_HZ, n_segments
from crywatch.selection import sounds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EmbedVggishConfig:
    """Section ``embed_vggish``."""

    batch_s: int  # seconds of sound in one batch


@dataclass(frozen=True)
class EmbedSummary:
    """What was embedded."""

    n_clips: int
    n_seconds: int
    name: str
    dim: int
    digest: str


def run(
    clips_tables: Sequence[Path],
    embedder_config: EmbedderConfig,
    config: EmbedVggishConfig,
    out_dir: Path,
    work_dir: Path,
) -> EmbedSummary:
    """Embed all clips labelled cry or other of the tables."""
    clips = sounds(clips_tables)
    embedder = build(embedder_config)
    info = StoreInfo(embedder_config.name, embedder_config.dim, embedder.digest)
    code = code_sha256("audio.py", "embedders", "segments.py")
    key = value_sha256([asdict(info), clips[["clip_id", "sha256"]].values.tolist(), code])
    writer = FeatureWriter(info, work_dir, key)
    corpora = sorted(clips["corpus"].unique())
    for corpus in corpora:
        rows = clips[clips["corpus"] == corpus]
        done = set(writer.done(corpus))
        left = rows[~rows["clip_id"].isin(done)]
        writer.write(corpus, embed_clips(left, embedder, config.batch_s, corpus))
    writer.finish(corpora, out_dir)
    seconds = sum(n_segments(round(d * RATE_HZ)) for d in clips["duration_s"])
    return EmbedSummary(len(clips), seconds, info.name, info.dim, info.digest)


def embed_clips(
    clips: pd.DataFrame, embedder: Embedder, batch_s: int, what: str
) -> Iterator[ClipFeatures]:
    """Features clip by clip, computed in batches of at most about ``batch_s`` seconds."""
    ids: list[str] = []
    waves = []
    held = 0.0
    for clip_id, path in progress(
        zip(clips["clip_id"], clips["path"], strict=True), f"embed {what}", len(clips), "clip"
    ):
        wave = read_clean(path)
        ids.append(clip_id)
        waves.append(wave)
        held += len(wave) / RATE_HZ
        if held >= batch_s:
            yield from _embedded(ids, waves, embedder)
            ids, waves, held = [], [], 0.0
    if ids:
        yield from _embedded(ids, waves, embedder)


def _embedded(ids: list[str], waves: list, embedder: Embedder) -> Iterator[ClipFeatures]:
    for clip_id, vectors in zip(ids, embedder.embed_batch(waves), strict=True):
        yield ClipFeatures(clip_id, vectors)
