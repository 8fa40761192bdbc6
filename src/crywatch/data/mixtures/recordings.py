"""What untrimmed recordings and soundscapes share: files, rows and tables, counts and checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16, write_flac
from crywatch.audio.waves.levels import bandwidth_hz, level_dbfs
from crywatch.core.errors import ConfigError
from crywatch.data.selection import NO_SOURCE
from crywatch.data.tables import PARTS, conform, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS


@dataclass(frozen=True)
class RecordingsSummary:
    """What was made."""

    recordings: dict[str, int]  # by part
    seconds: float
    cry_seconds: float  # of the events

    def as_metrics(self) -> dict[str, float | None]:
        """For the tracking store."""
        counts = {f"recordings_{part}": float(n) for part, n in self.recordings.items()}
        return counts | {k: v for k, v in vars(self).items() if k != "recordings"}


class RecordingWriter:
    """The recordings of one corpus: audio/*.flac as they come, the tables at the end.

    What is written to ``folder`` will lie at ``out_dir``.
    """

    def __init__(self, folder: Path, out_dir: Path):
        self.folder, self.out_dir = folder, out_dir
        self.rows: list[dict] = []  # of table split_clips
        self.events: list[tuple] = []  # of table events

    def path(self, clip_id: str) -> Path:
        """Of a recording's sound, relative to the folder."""
        return Path("audio") / f"{clip_id.split('/')[1]}.flac"

    def add(
        self,
        clip_id: str,
        part: str,
        category: str,
        wave: np.ndarray,
        sources: pd.DataFrame,
        events: Iterable[tuple],
    ) -> str:
        """Write ``wave`` [samples] at 16 kHz, made of ``sources``; where it will lie."""
        write_flac(self.folder / self.path(clip_id), wave)
        path = (self.out_dir / self.path(clip_id)).as_posix()
        self.rows.append(clip_row(clip_id, path, part, category, wave, sources))
        self.events += events
        return path

    def clips(self) -> pd.DataFrame:
        """Table ``split_clips`` of what was added."""
        return conform(pd.DataFrame(self.rows, columns=list(SPLIT_CLIPS.columns)), SPLIT_CLIPS)

    def write_tables(self) -> None:
        """Write clips.parquet (``split_clips``) and events.parquet."""
        write_table(self.clips(), self.folder / "clips.parquet", SPLIT_CLIPS)
        table = pd.DataFrame(self.events, columns=list(EVENTS.columns))
        write_table(table, self.folder / "events.parquet", EVENTS)

    def summary(self) -> RecordingsSummary:
        """Of what was added."""
        cries = [event for event in self.events if event[3] == "cry"]
        return RecordingsSummary(
            recordings={part: sum(row["split"] == part for row in self.rows) for part in PARTS},
            seconds=round(float(sum(row["duration_s"] for row in self.rows)), 1),
            cry_seconds=round(float(sum(event[2] - event[1] for event in cries)), 1),
        )


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
        "kind": "mixture",
        "weak": False,
    }


def check_per_part(key: str, per_part: dict[str, int]) -> None:
    """ConfigError unless there is a count for each part."""
    if set(per_part) != set(PARTS) or min(per_part.values()) < 0:
        raise ConfigError(f"{key}: needs a number for each of {', '.join(PARTS)}")


def check_share(key: str, share: float) -> None:
    """ConfigError unless ``share`` is one."""
    if not 0 <= share <= 1:
        raise ConfigError(f"{key}: {share:g} is not in 0..1")
