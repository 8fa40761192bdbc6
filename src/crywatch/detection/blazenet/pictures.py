"""Stage ``pictures``: BlazeNet's pictures of every segment, made once for all variants.

``<segment>/<corpus>.npy`` is float16 [segments, 64, 64], ``<segment>/<corpus>.parquet`` has clip_id
and start_s in row order; half precision is 0.02 dB of the network's input scale. Read through
memory maps.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureStore, FeatureWriter, StoreInfo
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.frontend import FRAMES, FrontEndConfig, from_wave


@dataclass(frozen=True)
class PicturesConfig:
    """Section ``pictures``."""

    rate_hz: int
    n_mels: int
    window_s: float
    hop_s: float
    fmin_hz: float
    fmax_hz: float
    top_db: float
    segments_s: list[float]  # front ends

    def front_end(self, segment_s: float) -> FrontEndConfig:
        """The front end for segments of that length."""
        if segment_s not in self.segments_s:
            raise ConfigError(f"pictures.segments_s lacks {segment_s}: add it there")
        values = {k: v for k, v in vars(self).items() if k != "segments_s"}
        return FrontEndConfig(**values, segment_s=segment_s)


@dataclass(frozen=True)
class FeaturesSummary:
    """Segments by front end."""

    n_clips: int
    n_segments: dict[str, int]


def folder_name(segment_s: float) -> str:
    """Of the pictures of one front end: ``1s``, ``5s``."""
    return f"{segment_s:g}s"


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
    for segment_s in config.segments_s:
        front_end = config.front_end(segment_s)
        dim = front_end.n_mels * FRAMES
        # With the sounds: a training resumes only on the very same pictures.
        digest = value_sha256([front_end.as_dict(), contents])
        info = StoreInfo(
            f"blazenet picture {folder_name(segment_s)}", dim, digest, "<f2", segment_s
        )
        key = value_sha256([vars(info), code])
        writer = FeatureWriter(info, work_dir / folder_name(segment_s), key)
        make = partial(_pictures, front_end=front_end)
        writer.write_clips(clips, make, f"pictures {folder_name(segment_s)}")
        store = out_dir / folder_name(segment_s)
        writer.finish(corpora, store)
        counts[folder_name(segment_s)] = FeatureStore(store).n_rows
    shutil.rmtree(work_dir, ignore_errors=True)
    return FeaturesSummary(len(clips), counts)


def _pictures(clip: Any, front_end: FrontEndConfig) -> np.ndarray:
    """[segments, 64 * 64] float16 of a row of table split_clips."""
    # In float64, so that the halves are the same ones on every processor.
    pictures = from_wave(read_clean(clip.path), front_end, torch.float64).numpy()
    return pictures.reshape(len(pictures), -1).astype(np.float16)
