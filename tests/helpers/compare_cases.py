"""Scores of generated detectors on generated clips, for the tests of charts and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.data.selection import Source
from crywatch.data.tables import empty, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate.detection import DetectionSummary
from crywatch.evaluation.evaluate.detection.measures import measure
from tests.helpers.blazenet_cases import clip_rows, sound
from tests.helpers.score_cases import scored_system

SECONDS = 3  # of every clip
THRESHOLD = 0.5


def clips(groups: int = 12, corpora: Iterable[str] = ("a", "b"), tag: str = "") -> pd.DataFrame:
    """Table split_clips: in each corpus, part and class ``groups`` recordings of two clips.

    ``tag`` goes into the digests: clips of another tag hold another sound.
    """
    rows = []
    for corpus in corpora:
        for part in ("train", "val", "test"):
            for label in ("cry", "other"):
                for number in range(groups if part == "test" else 3):
                    for take in "xy":
                        name = f"{corpus}/{part}-{label}-{number}{take}"
                        group = f"{corpus}/{part}-{label}-{number}"
                        told = {"clip_id": name, "label": label, "split": part}
                        told |= {"sha256": f"{tag}{name}", "group_id": group}
                        rows.append(told | {"duration_s": float(SECONDS)})
    return clip_rows(rows)


def seconds(
    table: pd.DataFrame, skills: Mapping[str, float], leave_out: str = "", seed: int = 0
) -> pd.DataFrame:
    """Scores of models (name to skill: 0 knows nothing) of all that they were not trained on.

    Clips of one recording are alike; what a clip is like is the same for every model and seed.
    """
    measured = table[(table["split"] != "train") | (table["corpus"] == leave_out)]
    shared = np.random.default_rng(99)
    hardness = {group: shared.normal() for group in sorted(set(table["group_id"]))}
    rng = np.random.default_rng(seed)
    parts = []
    for model, skill in skills.items():
        for clip in measured.itertuples():
            cry = clip.label == "cry"
            level = skill * (1 if cry else -1) + hardness[clip.group_id]
            scores = 1 / (1 + np.exp(-(level + rng.normal(size=SECONDS))))
            starts = np.arange(SECONDS, dtype=float)
            columns = {"model": model, "clip_id": clip.clip_id, "start_s": starts}
            columns |= {"end_s": starts + 1, "score": scores, "is_cry": cry}
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def measured_table(seconds: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Table "measured" of those scores and of table split_clips."""
    columns = ["clip_id", "sha256", "corpus", "label", "group_id", "split", "canonical"]
    rows = seconds.assign(unknown=False).merge(
        table[columns], on="clip_id", how="left", validate="many_to_one"
    )
    return rows[list(MEASURED.columns)]


def summary(table: pd.DataFrame, told: pd.DataFrame, leave_out: str = "") -> DetectionSummary:
    """As the stage makes it of those scores."""
    measured, rows = measured_table(told, table), []
    for model, frame in measured.groupby("model", sort=False):
        left = leave_out if (frame["split"] == "train").any() else ""
        rows += measure(scored_system(str(model), left), frame, THRESHOLD)
    return DetectionSummary(rows, [], measured, {})


def write_source(folder: Path, table: pd.DataFrame) -> Source:
    """Table and sounds on disk: the first second of every clip is silent."""
    table = table.copy()
    for number, clip in enumerate(table.itertuples()):
        wave = sound(SECONDS * RATE_HZ, number)
        wave[:RATE_HZ] = 0
        path = folder / f"{clip.clip_id.replace('/', '_')}.flac"
        write_flac(path, wave)
        table.loc[clip.Index, "path"] = str(path)
    write_table(table, folder / "clips.parquet", SPLIT_CLIPS)
    write_table(empty(EVENTS), folder / "events.parquet", EVENTS)
    return Source(folder / "clips.parquet", folder / "events.parquet")
