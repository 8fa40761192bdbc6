"""Small inputs for the tests of BlazeNet: front ends, sounds, clip tables and feature stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.data.features import ClipFeatures, FeatureWriter, StoreInfo
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import MINED, SPLIT_CLIPS
from crywatch.detection.blazenet.frontend import FRAMES, FrontEndConfig

ONE_SECOND = FrontEndConfig(
    rate_hz=8000,
    n_mels=64,
    window_s=0.064,
    hop_s=0.01475,
    fmin_hz=0.0,
    fmax_hz=8000.0,
    top_db=80.0,
)
FIVE_SECONDS = replace(ONE_SECOND, segment_s=5.0)
IMAGE = replace(ONE_SECOND, fmax_hz=4000.0, scale="minmax")  # of the authors' code


def sound(n_samples: int, seed: int = 0) -> np.ndarray:
    """Noise over a gliding tone, [n_samples] float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    phase = np.cumsum(np.linspace(300, 900, max(n_samples, 1))[:n_samples]) * 2 * np.pi / 16_000
    noise = rng.standard_normal(n_samples)
    return (0.3 * np.sin(phase) + 0.05 * noise).astype(np.float32)


def clip_rows(rows: list[dict]) -> pd.DataFrame:
    """Rows of table "split_clips"; each of ``rows`` needs clip_id, label and split."""
    filled = []
    for row in rows:
        corpus, _, stem = row["clip_id"].partition("/")
        default = {
            "corpus": corpus,
            "path": f"{stem}.flac",
            "source_path": f"{stem}.wav",
            "sha256": row["clip_id"],
            "duration_s": 5.0,
            "rate_hz": 16_000,
            "bandwidth_hz": 8000.0,
            "peak_dbfs": -3.0,
            "rms_dbfs": -20.0,
            "category": row["label"],
            "recording_id": row["clip_id"],
            "infant_id": None,
            "session_id": None,
            "recorded_at": pd.NaT,
            "licence": "none",
            "cluster_id": None,
            "canonical": True,
            "group_id": row["clip_id"],
            "kind": row["label"],
            "weak": False,
        }
        filled.append(default | row)
    return pd.DataFrame(filled)[list(SPLIT_CLIPS.columns)]


def write_clips(path: Path, rows: list[dict]) -> Path:
    """A "split_clips" table on disk."""
    write_table(clip_rows(rows), path, SPLIT_CLIPS)
    return path


def write_mined(path: Path, seconds: dict[str, list[int]]) -> Path:
    """A "mined" table on disk: seconds by clip, the best one first."""
    rows = [
        {"clip_id": clip_id, "start_s": float(start), "score": 1.0 - rank / 10, "rank": rank}
        for clip_id, starts in seconds.items()
        for rank, start in enumerate(starts)
    ]
    write_table(pd.DataFrame(rows), path, MINED)
    return path


def picture_store(folder: Path, clips: dict[str, int], cries: set[str]) -> Path:
    """Pictures of ``clips`` (clip_id -> segments): noise; a bright stripe in cries."""
    info = StoreInfo("blazenet picture 1s", 64 * FRAMES, "front end", "<f2")
    writer = FeatureWriter(info, folder.with_name(f"{folder.name}.work"))
    corpora = sorted({clip_id.partition("/")[0] for clip_id in clips})
    for corpus in corpora:
        mine = [clip_id for clip_id in clips if clip_id.partition("/")[0] == corpus]
        writer.write(corpus, (_pictures(c, clips[c], c in cries) for c in mine))
    writer.finish(corpora, folder)
    return folder


def _pictures(clip_id: str, count: int, is_cry: bool) -> ClipFeatures:
    rng = np.random.default_rng(list(clip_id.encode()))
    pictures = 0.3 * rng.standard_normal((count, 64, FRAMES))
    if is_cry:
        pictures[:, 20:40] += 1.5
    return ClipFeatures(clip_id, pictures.reshape(count, -1))
