"""A project with recordings whose levels say what they are, and models that hear levels.

Cries of esc50 peak at 0.55 to 0.65, those of donateacry at 0.75 to 0.9, dogs at 0.3 to 0.4, rain at
0.05 to 0.15; the cry of a soundscape peaks at 0.52 where its background is loud. A model's score is
its curve of the peak of a second.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core import paths
from crywatch.core.models import load
from crywatch.data.selection import Source
from crywatch.data.tables import conform, empty, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.operations.register.config import (
    FirstConfig,
    Guard,
    InfantsConfig,
    MainConfig,
    RegisterConfig,
)
from tests.helpers.calibrate_cases import Peaks, steps
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.split_cases import row

CURVES = {
    "RIGHT": [[0, 0], [1, 1]],
    "DEAF": [[0, 0], [0.7, 0.7], [0.72, 0.2], [1, 0.25]],  # to most cries of donateacry
    # Dogs are called, and some loud seconds are not.
    "DOGS": [[0, 0], [0.25, 0.25], [0.29, 0.51], [0.41, 0.52], [0.84, 0.84], [0.85, 0.4], [1, 0.4]],
    "NOISY": [[0, 0], [0.5, 0.45], [0.53, 0.48], [0.54, 0.54], [1, 1]],  # misses cries in noise
    "CORPUS": [[0, 0], [0.53, 0.53], [0.54, 0.33], [0.66, 0.35], [0.74, 0.74], [1, 1]],  # no esc50
}
GUARDS = {
    "ranked": (0.01, 0.1),
    "found": (0.02, 0.3),
    "called": (0.02, 0.3),
    "confuser": (0.05, 0.5),
    "noise": (0.05, 0.3),
    "false_alarms": (2.0, 30.0),
}


def config(**changes) -> RegisterConfig:
    """The limits of conf/command/register.yaml."""
    given = {
        "name": "cry",
        "model": "data/calibrate/robust",
        "part": "val",
        "main": MainConfig("pooled", "average_precision", 0.0, 0.05),
        "least_groups": 5,
        "least_lost": 2,
        "guards": {kind: Guard(*limits) for kind, limits in GUARDS.items()},
        "noise_bands_db": [0.0, 10.0],
        "infants": InfantsConfig("mahalanobis", 0),
        "first": FirstConfig(0.5, 200.0, 0.25),
    }
    return RegisterConfig(**(given | changes))


class Hears(Peaks):
    """The curve of a model folder, of the peak of each second."""

    lookahead_s = 0.0
    n_parameters = 7

    def __init__(self, folder):
        self.curve = np.array(load(folder).description["curve"], dtype=float)

    def score(self, wave: np.ndarray) -> np.ndarray:
        return np.interp(super().score(wave), *self.curve.T)


def write_model(folder: Path, curve, **told) -> Path:
    """A whole model folder that `Hears` reads."""
    return write_robust(folder, curve=curve, corpora=["esc50"], **told)


def write_recordings(seed: int = 0) -> list[Source]:
    """Tables and sounds of all parts, where the stages write them below the working directory."""
    rng = np.random.default_rng(seed)
    clips, made, events, plans = [], [], [], []
    for part, count in (("train", 2), ("val", 8), ("test", 5)):
        for n in range(count):
            clips += [
                _clip(f"esc50/cry-{part}-{n}", part, rng.uniform(0.55, 0.65, 4), "cry", "baby"),
                _clip(f"donateacry/{part}-{n}", part, rng.uniform(0.75, 0.9, 4), "cry", "hungry"),
                _clip(f"esc50/dog-{part}-{n}", part, rng.uniform(0.3, 0.4, 4), "other", "dog"),
                _clip(f"esc50/rain-{part}-{n}", part, rng.uniform(0.05, 0.15, 4), "other", "rain"),
            ]
            loud = n % 2 == 0
            levels = np.full(6, 0.1)
            levels[2:4] = 0.52 if loud else 0.6
            levels += rng.uniform(0, 0.005, 6)  # no two are the same sound
            name = f"soundscapes/{part}-{n:05d}"
            made.append(_clip(name, part, levels, "cry", "10s", group_id=f"soundscapes/{part}"))
            made[-1]["source_path"] = "esc50"
            events.append((name, 2.0, 4.0, "cry"))
            plans.append(plan(name, part, -3.0 if loud else 15.0, f"esc50/cry-{part}-{n}"))
    write_tables(clips, made, events, plans)
    return list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))


def write_tables(clips: list[dict], made: list[dict], events: list, plans: list[dict]) -> None:
    """Of clips, and of soundscapes with their events and annotations; no made clips."""
    _write(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS, clips, [])
    _write(paths.CLIPS_TABLES[2], paths.EVENTS_TABLES[2], made, events)
    write_table(empty(SPLIT_CLIPS), paths.CLIPS_TABLES[1], SPLIT_CLIPS)
    write_table(empty(EVENTS), paths.EVENTS_TABLES[1], EVENTS)
    lines = "".join(f"{json.dumps(one)}\n" for one in plans)
    (paths.SOUNDSCAPES / "annotations.jsonl").write_text(lines)


def _clip(clip_id, part, levels, label, category, **changes) -> dict:
    columns = {"split": part, "canonical": True, "cluster_id": None, "group_id": clip_id}
    told = {"label": label, "category": category}
    return row(Path("sounds"), clip_id, steps(levels), **(columns | told | changes))


def _write(clips_path, events_path, clips, events) -> None:
    write_table(conform(pd.DataFrame(clips), SPLIT_CLIPS), clips_path, SPLIT_CLIPS)
    columns = ["clip_id", "onset_s", "offset_s", "label"]
    write_table(pd.DataFrame(events, columns=columns), events_path, EVENTS)


def plan(clip_id, part, snr_db, cry) -> dict:
    """A line of annotations.jsonl."""
    background = {"clip_id": None, "noise": "pink", "stretch": None, "start_s": 0.0, "seed": 1}
    foreground = {
        "clip_id": cry,
        "label": "cry",
        "onset_s": 2.0,
        "stretches": [{"onset_s": 0.0, "offset_s": 2.0}],
        "snr_db": snr_db,
        "direct_db": None,
        "seed": 1,
        "gain_db": 0.0,
    }
    return {
        "clip_id": clip_id,
        "part": part,
        "category": "10s",
        "duration_s": 6.0,
        "background": background | {"level_dbfs": -40.0, "gain_db": 0.0},
        "rt60_s": None,
        "foregrounds": [foreground],
        "path": "",
        "gain_db": 0.0,
    }


def write_infants(over: int, of: int = 4, part: str = "val") -> None:
    """tables.json of stage `fit_infants`: so many infants over twice the promise of 0.1."""
    rows = [
        {"promised": True, "test_clips": 20, "alarms": 5 if n < over else 2, "rate_promised": 0.1}
        for n in range(of)
    ]
    folder = paths.FIT_INFANTS / "mahalanobis"
    folder.mkdir(parents=True, exist_ok=True)
    other = "test" if part == "val" else "val"
    parts = {part: {"rows": rows}, other: {"rows": []}}
    (folder / "tables.json").write_text(json.dumps({"parts": parts}))
