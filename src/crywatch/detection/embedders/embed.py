"""Stage ``embed``: the embedder's numbers for every plain second of every labelled clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.progress import progress
from crywatch.data.features import ClipFeatures, FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.embedders import Embedder, EmbedderConfig, build
from crywatch.detection.engine import LOCAL, Engine, Work

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EmbedConfig:
    """Section ``embed``."""

    batch_s: int  # seconds of sound in one batch


@dataclass(frozen=True)
class ClipFile:
    """A clip and its cleaned file."""

    clip_id: str
    path: str


@dataclass(frozen=True)
class Embedding(Work[ClipFile, ClipFeatures]):
    """Reads a batch of clips and embeds them together."""

    config: EmbedderConfig

    @cached_property
    def embedder(self) -> Embedder:
        """Loaded when it is first asked for."""
        return build(self.config)

    def __call__(self, batch: Sequence[ClipFile]) -> Iterator[ClipFeatures]:
        vectors = self.embedder.embed_batch([read_clean(clip.path) for clip in batch])
        for clip, of_clip in zip(batch, vectors, strict=True):
            yield ClipFeatures(clip.clip_id, of_clip)


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
    config: EmbedConfig,
    out_dir: Path,
    work_dir: Path,
    engine: Engine = LOCAL,
) -> EmbedSummary:
    """Embed all clips labelled cry or other of the tables."""
    clips = sounds(clips_tables)
    work = Embedding(embedder_config)
    info = StoreInfo(embedder_config.name, embedder_config.dim, work.embedder.digest)
    key = value_sha256(
        [asdict(info), clips[["clip_id", "sha256"]].values.tolist(), code_sha256(__name__)]
    )
    writer = FeatureWriter(info, work_dir, key)
    corpora = sorted(clips["corpus"].unique())
    for corpus in corpora:
        rows = clips[clips["corpus"] == corpus]
        finished = set(writer.done(corpus))
        left = rows[~rows["clip_id"].isin(finished)]
        features = engine.map(work, batches(left, config.batch_s))
        writer.write(corpus, progress(features, f"embed {corpus}", len(left), "clip"))
    writer.finish(corpora, out_dir)
    seconds = sum(n_segments(round(d * RATE_HZ)) for d in clips["duration_s"])
    return EmbedSummary(len(clips), seconds, info.name, info.dim, info.digest)


def batches(clips: pd.DataFrame, batch_s: int) -> Iterator[list[ClipFile]]:
    """Clips in their order, in batches of about ``batch_s`` seconds: the last one may reach over.

    By the table alone, so that no file is read before its batch is worked on.
    """
    batch: list[ClipFile] = []
    held_s = 0.0
    columns = (clips[name] for name in ("clip_id", "path", "duration_s"))
    for clip_id, path, duration_s in zip(*columns, strict=True):
        batch.append(ClipFile(clip_id, path))
        held_s += duration_s
        if held_s >= batch_s:
            yield batch
            batch, held_s = [], 0.0
    if batch:
        yield batch
