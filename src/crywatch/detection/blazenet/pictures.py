"""Stage ``pictures``: BlazeNet's pictures of every segment, made once for all variants.

A folder ``<front end>_<segment>`` has ``<corpus>.npy``, float16 [segments, 64, 64], and
``<corpus>.parquet``, clip_id and start_s in row order; half precision is 0.02 dB of the network's
input scale. Read through memory maps.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError, named
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureStore, FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.frontend import FRAMES, FrontEndConfig, from_wave


@dataclass  # not frozen: its base is not
class PictureConfig(FrontEndConfig):
    """A front end of segments of several lengths; its own ``segment_s`` counts for nothing."""

    segments_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class PicturesConfig:
    """Section ``pictures``."""

    front_ends: dict[str, PictureConfig]

    def front_end(self, name: str, segment_s: float) -> FrontEndConfig:
        """The front end of that name for segments of that length; ConfigError if there is none."""
        config = named(self.front_ends, name, "pictures.front_ends")
        key = f"pictures.front_ends.{name}"
        if segment_s not in config.segments_s:
            raise ConfigError(f"{key}.segments_s lacks {segment_s}: add it there")
        values = {one.name: getattr(config, one.name) for one in fields(FrontEndConfig)}
        front_end = FrontEndConfig(**values | {"segment_s": segment_s})
        if front_end.scale is not None:
            front_end.check(key)
        return front_end


@dataclass(frozen=True)
class FeaturesSummary:
    """Segments by front end."""

    n_clips: int
    n_segments: dict[str, int]


def folder_name(front_end: str, segment_s: float) -> str:
    """Of the pictures of one front end and length: ``ours_1s``."""
    return f"{front_end}_{segment_s:g}s"


@one_thread()
def run(
    clips_tables: Sequence[Path], config: PicturesConfig, out_dir: Path, work_dir: Path
) -> FeaturesSummary:
    """Pictures of all clips labelled cry or other of the tables."""
    clips = sounds(clips_tables)
    corpora = sorted(clips["corpus"].unique())
    contents = clips[["clip_id", "sha256"]].values.tolist()
    code = code_sha256(__name__)
    counts = {}
    wanted = [(name, s) for name, one in config.front_ends.items() for s in one.segments_s]
    for name, segment_s in wanted:
        front_end, folder = config.front_end(name, segment_s), folder_name(name, segment_s)
        dim = front_end.n_mels * FRAMES
        # With the sounds: a training resumes only on the very same pictures.
        digest = value_sha256([front_end.as_dict(), contents])
        info = StoreInfo(f"blazenet picture {folder}", dim, digest, "<f2", segment_s)
        key = value_sha256([vars(info), code])
        writer = FeatureWriter(info, work_dir / folder, key)
        make = partial(_pictures, front_end=front_end)
        writer.write_clips(clips, make, f"pictures {folder}")
        store = out_dir / folder
        writer.finish(corpora, store)
        counts[folder] = FeatureStore(store).n_rows
    shutil.rmtree(work_dir, ignore_errors=True)
    return FeaturesSummary(len(clips), counts)


def _pictures(clip: Any, front_end: FrontEndConfig) -> np.ndarray:
    """[segments, 64 * 64] float16 of a row of table split_clips."""
    # In float64, so that the halves are the same ones on every processor.
    pictures = from_wave(read_clean(clip.path), front_end, torch.float64).numpy()
    return pictures.reshape(len(pictures), -1).astype(np.float16)
