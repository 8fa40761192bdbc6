"""What the stages share that make recordings from clips: rows and tables, checks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.decode import bandwidth_hz, level_dbfs, to_int16
from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError
from crywatch.data.selection import NO_SOURCE
from crywatch.data.tables import PARTS, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS


def clip_row(
    clip_id: str, path: str, part: str, category: str, wave: np.ndarray, sources: pd.DataFrame
) -> dict:
    """The row of table ``split_clips`` of a recording made of ``sources``, rows of that table.

    All recordings of a part form one group: they share clips.
    """
    corpus = clip_id.split("/")[0]
    return {
        "clip_id": clip_id,
        "corpus": corpus,
        "path": path,
        "source_path": "+".join(sorted(set(sources["corpus"]))) or NO_SOURCE,
        "sha256": hashlib.sha256(to_int16(wave).tobytes()).hexdigest(),
        "duration_s": len(wave) / RATE_HZ,
        "rate_hz": RATE_HZ,
        "bandwidth_hz": bandwidth_hz(wave, RATE_HZ),
        "peak_dbfs": level_dbfs(float(np.abs(wave).max())),
        "rms_dbfs": level_dbfs(float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))),
        "label": "cry" if (sources["label"] == "cry").any() else "other",
        "category": category,
        "recording_id": clip_id,
        "infant_id": None,
        "session_id": None,
        "recorded_at": pd.NaT,
        "licence": "; ".join(sorted(set(sources["licence"]))) or NO_SOURCE,
        "cluster_id": None,
        "canonical": True,
        "group_id": f"{corpus}/{part}",
        "split": part,
    }


def write_tables(folder: Path, rows: Sequence[dict], events: Sequence[tuple]) -> None:
    """Write clips.parquet (``split_clips``) and events.parquet."""
    clips = pd.DataFrame(rows, columns=list(SPLIT_CLIPS.columns))
    write_table(clips, folder / "clips.parquet", SPLIT_CLIPS)
    table = pd.DataFrame(events, columns=list(EVENTS.columns))
    write_table(table, folder / "events.parquet", EVENTS)


def check_per_part(key: str, per_part: dict[str, int]) -> None:
    """ConfigError unless there is a count for each part."""
    if set(per_part) != set(PARTS) or min(per_part.values()) < 0:
        raise ConfigError(f"{key}: needs a number for each of {', '.join(PARTS)}")


def check_share(key: str, share: float) -> None:
    """ConfigError unless ``share`` is one."""
    if not 0 <= share <= 1:
        raise ConfigError(f"{key}: {share:g} is not in 0..1")
