"""Recordings whose scores are known, for the tests of the calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ, cut
from crywatch.data.selection import Source
from crywatch.data.tables import conform, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.data.truth import Interval, crying_segments
from crywatch.detection.calibrate.listening import Recording
from tests.helpers.split_cases import row

CRIES = [(2.0, 4.0)]  # of the made recordings that hold one


class Peaks:
    """A detector: the score of a second is its peak."""

    decision = None
    lookahead_s = 0.0

    def speed_up(self) -> None:
        pass

    def score(self, wave: np.ndarray) -> np.ndarray:
        return np.abs(cut(wave)).max(axis=1).astype(np.float64)

    def score_stream(self, chunks) -> np.ndarray:
        return self.score(np.concatenate(list(chunks)))


def steps(levels) -> np.ndarray:
    """A tone with a peak of each of ``levels`` in a second of its own; [samples], 16 kHz."""
    tone = np.sin(2 * np.pi * 500 * (np.arange(RATE_HZ) + 0.5) / RATE_HZ)
    return np.concatenate([level * tone for level in levels]).astype(np.float32)


def recording(name: str, scores, cries=(), weak: bool = False, **changes) -> Recording:
    """One with these scores; strongly labelled, unless it is ``weak``: then it cries somewhere."""
    placed = [Interval(*times) for times in cries]
    count = len(scores)
    given = {
        "clip_id": name,
        "corpus": name.partition("/")[0],
        "group_id": name,
        "duration_s": float(count),
        "scores": np.array(scores, dtype=float),
        "is_cry": np.ones(count, bool) if weak else crying_segments(placed, count),
        "known": np.ones(count, bool),
        "strong": not weak,
        "cries": tuple(placed),
    }
    return Recording(**(given | changes))


def write_sources(folder: Path, seed: int = 0, test_seed: int = 0) -> list[Source]:
    """Clips of corpus a (weak cries, others) and soundscapes with cries at `CRIES`, by part."""
    clips, made, events = [], [], []
    for part in ("train", "val", "test"):
        rng = np.random.default_rng([seed, test_seed if part == "test" else 0, len(part)])
        columns = {"split": part, "canonical": True, "cluster_id": None}
        for n in range(6):
            levels = np.clip(rng.normal(0.55, 0.2, 4), 0.05, 0.95)
            clips.append(_row(folder, f"a/cry-{part}-{n}", levels, columns, label="cry"))
            levels = np.clip(rng.normal(0.3, 0.15, 4), 0.05, 0.95)
            clips.append(_row(folder, f"a/other-{part}-{n}", levels, columns))
            levels = np.clip(rng.normal(0.25, 0.15, 6), 0.05, 0.95)
            levels[2:4] += 0.3
            name = f"soundscapes/{part}-{n}"
            made.append(
                _row(folder, name, np.clip(levels, 0, 0.95), columns, label="cry", group_id=part)
            )
            made[-1]["source_path"] = "a+b"
            events += [(name, *times, "cry") for times in CRIES]
    copy = _row(folder, "a/copy", [0.9] * 4, columns | {"canonical": False, "split": "val"})
    unknown = _row(folder, "a/unknown", [0.9] * 4, columns | {"split": "val"}, label="unknown")
    found = []
    for name, rows, placed in (("clips", [*clips, copy, unknown], []), ("made", made, events)):
        table = conform(pd.DataFrame(rows), SPLIT_CLIPS)
        write_table(table, folder / f"{name}.parquet", SPLIT_CLIPS)
        labels = pd.DataFrame(placed, columns=["clip_id", "onset_s", "offset_s", "label"])
        write_table(labels, folder / f"{name}_events.parquet", EVENTS)
        found.append(Source(folder / f"{name}.parquet", folder / f"{name}_events.parquet"))
    return found


def _row(folder: Path, clip_id: str, levels, columns: dict, **changes) -> dict:
    group = {"group_id": clip_id}
    return row(folder, clip_id, steps(levels), **(group | columns | changes))
