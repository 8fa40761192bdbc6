"""A small labelled world for the tests of the baselines and of the comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.data.selection import Source
from crywatch.data.tables import write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from tests.helpers.blazenet_cases import clip_rows

CATEGORIES = ("crying_baby", "silence", "baby_laugh", "rain")


def made(category: str, seed: int, seconds: float = 6.0) -> np.ndarray:
    """A sound that a category is told by, [samples] at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = rng.standard_normal(len(t))
    level = 0.1 + 0.2 * rng.random()
    if category == "crying_baby":
        pitch = 420 + 60 * rng.random() + 40 * np.sin(2 * np.pi * 1.5 * t)
        phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
        wave = sum(np.sin(n * phase) / n for n in range(1, 6)) + 0.02 * noise
    elif category == "silence":
        wave = 0.002 * noise
    elif category == "baby_laugh":
        gate = (np.sin(2 * np.pi * 5 * t) > 0).astype(float)
        wave = gate * np.sin(2 * np.pi * (900 + 200 * rng.random()) * t) + 0.02 * noise
    else:
        wave = noise
    return (level * wave).astype(np.float32)


def world(folder: Path, per_class: int = 3) -> Source:
    """Corpus "mixed" with the four classes, "cries" with cries alone, and "sounds" with both.

    Every clip is a group of its own. Paths are absolute.
    """
    rows = []
    for part, first in (("train", 0), ("val", 100), ("test", 200)):
        for number in range(per_class):
            for corpus, categories in (
                ("mixed", CATEGORIES),
                ("cries", ("crying_baby",)),
                ("sounds", ("crying_baby", "rain")),
            ):
                for category in categories:
                    seed = first + number + 1000 * len(corpus)
                    clip_id = f"{corpus}/{category}-{part}-{number}"
                    path = folder / f"{clip_id}.flac"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    wave = made(category, seed)
                    write_flac(path, wave)
                    label = "cry" if category == "crying_baby" else "other"
                    row = {"clip_id": clip_id, "label": label, "split": part}
                    row |= {
                        "category": category,
                        "kind": "cry" if label == "cry" else category,
                        "path": str(path),
                        "duration_s": 6.0,
                    }
                    rows.append(row)
    write_table(clip_rows(rows), folder / "clips.parquet", SPLIT_CLIPS)
    columns = ["clip_id", "onset_s", "offset_s", "label"]
    write_table(pd.DataFrame([], columns=columns), folder / "events.parquet", EVENTS)
    return Source(folder / "clips.parquet", folder / "events.parquet")
