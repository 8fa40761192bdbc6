"""What stage ``score`` leaves for ``evaluate``: the names of its files, and how they are read.

``scores.parquet`` (table "scores") is read a system and channel at a time; ``seconds.parquet``
(table "seconds") says of every plain second whether it is silent; ``index.json`` names systems and
channels. ``probe`` has the vectors of a source each, [seconds, d] float32, one row a row of its
``seconds.parquet`` (table "probed").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.data.selection import Source, sounds, strong_labels
from crywatch.data.tables import read_table
from crywatch.data.tables.evaluation import PROBED, SCORES, SECONDS
from crywatch.data.truth import Truth

AS_RECORDED = "as recorded"  # stands for the channel of what goes through none
BACKGROUND_SCALED = "background, scaled"  # clips of a category of background, at one level
PAUSES, PAUSES_SCALED = "pauses", "pauses, scaled"  # quiet parts of cry clips
TABLE, SECONDS_TABLE, INDEX, PROBE = "scores.parquet", "seconds.parquet", "index.json", "probe"
UNTRAINED = ("yamnet",)  # families that never heard any corpus of the rebuild
DETECTION, SHORTCUTS, SYSTEMS = EVALUATIONS = ("detection", "shortcuts", "systems")


@dataclass(frozen=True)
class ScoredSystem:
    """A system whose scores are there."""

    name: str  # family/variant
    row: str  # of a table: the name without the seed
    leave_out: str  # corpora and kinds of sound never trained on, or ""
    segment_s: float  # how much sound it sees at once
    parameters: int
    sha256: str  # of its model
    evaluations: tuple[str, ...]  # that measure it, of `EVALUATIONS`

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm, robust, baselines, yamnet, fused."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class ProbeSource:
    """Something a probe can be given of a second."""

    name: str
    row: str  # of a table: the name without the system's seed
    system_row: str  # of the system whose features these are, "" for a front end


@dataclass(frozen=True)
class ScoreIndex:
    """index.json."""

    systems: list[ScoredSystem]
    channels: list[str]  # of the audit: one for all clips alike
    factors: dict[str, list[str]]  # what changes alone, and the channels that change it
    categories: list[str]  # of background
    matched: list[str]  # of the comparison
    shifts: list[str]  # recording chains of a phone, of the comparison
    probes: list[ProbeSource]

    def of(self, evaluation: str) -> list[ScoredSystem]:
        """The systems that an evaluation measures, in their order."""
        return [system for system in self.systems if evaluation in system.evaluations]


class Scored:
    """The folder of stage ``score``, with what is known of every second from ``sources``."""

    def __init__(self, folder: Path, sources: Sequence[Source]):
        self.folder = folder
        self.clips = sounds(source.clips for source in sources)
        self.truth = Truth(self.clips, strong_labels(source.events for source in sources))

    @cached_property
    def index(self) -> ScoreIndex:
        """TableError if the stage did not run."""
        path = self.folder / INDEX
        if not path.is_file():
            raise TableError(f"{path} is missing: run the stage that makes it (dvc repro)")
        index: dict[str, Any] = read_json(path)
        for system in index["systems"]:
            system["evaluations"] = tuple(system["evaluations"])
        index["systems"] = [ScoredSystem(**system) for system in index["systems"]]
        index["probes"] = [ProbeSource(**source) for source in index["probes"]]
        return ScoreIndex(**index)

    @cached_property
    def known(self) -> pd.DataFrame:
        """Every plain second: clip_id, start_s, silent, is_cry, unknown, and of its clip.

        Seconds of a weak cry are unknown: somewhere in it a cry is, and is_cry is the clip's.
        """
        seconds = read_table(self.folder / SECONDS_TABLE, SECONDS)
        unknown = set(seconds["clip_id"]) - set(self.clips["clip_id"])
        if unknown:
            raise TableError(
                f"{self.folder / SECONDS_TABLE}: clip {min(unknown)!r} is in no table of clips: "
                "score again (dvc repro)"
            )
        weak = {clip_id for clip_id in seconds["clip_id"].unique() if self.truth.is_weak(clip_id)}
        seconds["unknown"] = seconds["clip_id"].isin(weak)
        labels = [
            np.ones(len(frame), bool)
            if clip_id in weak
            else self.truth.segments(str(clip_id), len(frame))
            for clip_id, frame in seconds.groupby("clip_id", sort=False)
        ]
        seconds["is_cry"] = np.concatenate([np.zeros(0, dtype=bool), *labels])
        columns = ["clip_id", "sha256", "corpus", "split", "canonical", "label", "group_id"]
        columns += ["category", "kind", "duration_s"]
        return seconds.merge(self.clips[columns], on="clip_id", how="left", validate="many_to_one")

    def scores(self, system: str, channel: str) -> pd.DataFrame:
        """Clip_id, start_s, end_s and score of one system through one channel."""
        wanted = [("system", "==", system), ("channel", "==", channel)]
        frame = read_table(self.folder / TABLE, SCORES, wanted)
        return frame.drop(columns=["system", "channel"])

    def seconds(self, system: str, channel: str = AS_RECORDED) -> pd.DataFrame:
        """`scores` of plain seconds with what is `known` of them."""
        scores = self.scores(system, channel)
        return scores.merge(
            self.known, on=["clip_id", "start_s"], how="left", validate="one_to_one"
        )

    def probed(self) -> pd.DataFrame:
        """Of every second that the probes are given what is known of its clip."""
        table = read_table(self.folder / PROBE / SECONDS_TABLE, PROBED)
        columns = ["clip_id", "corpus", "label", "split", "group_id"]
        return table.merge(self.clips[columns], on="clip_id", how="left", validate="many_to_one")

    def vectors(self) -> Iterator[tuple[ProbeSource, np.ndarray]]:
        """Each source of the probes with its vectors [seconds, d]."""
        for number, source in enumerate(self.index.probes):
            yield source, np.load(self.folder / PROBE / f"{number}.npy")
