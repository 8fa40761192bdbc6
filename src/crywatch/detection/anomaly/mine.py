"""Stage ``mine``: scores for every plain second; the top-t seconds of every clip are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.models import load
from crywatch.core.progress import progress
from crywatch.data.features import FeatureStore
from crywatch.data.selection import labelled
from crywatch.data.tables import empty, read_table, write_table
from crywatch.data.tables.clips import EVENTS, MINED
from crywatch.data.truth import Truth
from crywatch.detection.anomaly.network import RtfmNetwork, score_seconds
from crywatch.detection.engine import LOCAL, Engine, Work

BATCH = 256  # clips scored by one call of a work


@dataclass(frozen=True)
class MineConfig:
    """Section ``mine``."""

    top_t: int  # seconds kept of every clip


@dataclass(frozen=True)
class MineSummary:
    """How much was mined, and how well where the truth is known."""

    n_clips: int
    n_seconds: int
    precision: float | None  # share of seconds mined of cry recordings that hold a cry
    chance: float | None  # the same for seconds taken at random

    def as_metrics(self, prefix: str) -> dict[str, float]:
        """For the tracking store; what is not known is left out."""
        values = {
            "clips": self.n_clips,
            "seconds": self.n_seconds,
            "precision": self.precision,
            "chance": self.chance,
        }
        return {f"{prefix}_{name}": v for name, v in values.items() if v is not None}


def load_head(folder: Path) -> RtfmNetwork:
    """The anomaly network of a model folder, ready to score."""
    model = load(folder)
    network = RtfmNetwork(model.setting("dim"))
    model.fill(network, "head")
    return network.eval()


@dataclass(frozen=True)
class MinedClip:
    """The top seconds of a clip, best first."""

    clip_id: str
    seconds: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Mining(Work[str, MinedClip]):
    """Scores clips, by their ids, one after the other."""

    model_dir: Path
    features_dir: Path
    top_t: int

    @cached_property
    def network(self) -> RtfmNetwork:
        """Loaded when it is first asked for."""
        return load_head(self.model_dir)

    @cached_property
    def store(self) -> FeatureStore:
        """Opened when it is first asked for."""
        return FeatureStore(self.features_dir)

    def __call__(self, batch: Sequence[str]) -> Iterator[MinedClip]:
        for clip_id in batch:
            scores = score_seconds(self.network, self.store.clip(clip_id))
            top = top_seconds(scores, self.top_t)
            yield MinedClip(clip_id, tuple(top), tuple(scores[top].tolist()))


def run(
    clips_table: Path,
    model_dir: Path,
    features_dir: Path,
    config: MineConfig,
    out_table: Path,
    events_table: Path | None = None,
    engine: Engine = LOCAL,
) -> MineSummary:
    """Mine the labelled clips of every part; with ``events_table`` the precision is measured."""
    clips = labelled(clips_table)
    work, ids = Mining(model_dir, features_dir, config.top_t), clips["clip_id"].tolist()
    mined_clips = engine.map(work, (ids[at : at + BATCH] for at in range(0, len(ids), BATCH)))
    rows = []
    for clip in progress(mined_clips, "mine", len(ids), "clip"):
        pairs = zip(clip.seconds, clip.scores, strict=True)
        rows += [(clip.clip_id, float(s), score, rank) for rank, (s, score) in enumerate(pairs)]
    mined = pd.DataFrame(rows, columns=list(empty(MINED).columns))
    write_table(mined, out_table, MINED)
    precision = chance = None
    if events_table is not None:
        events = read_table(events_table, EVENTS)
        precision, chance = mining_precision(mined, clips, events, work.store)
    return MineSummary(len(clips), len(mined), precision, chance)


def top_seconds(scores: np.ndarray, t: int) -> list[int]:
    """The ``t`` highest of ``scores`` [seconds], best first; the earlier one where equal."""
    return np.argsort(-scores, kind="stable")[:t].tolist()


def mining_precision(
    mined: pd.DataFrame, clips: pd.DataFrame, events: pd.DataFrame, store: FeatureStore
) -> tuple[float | None, float | None]:
    """Precision over the cry recordings of the parts not trained on, and chance."""
    held_out = clips[(clips["label"] == "cry") & (clips["split"] != "train")]
    truth = Truth(held_out, events)
    by_clip = dict(tuple(mined.groupby("clip_id")))
    hits, chances = [], []
    for clip_id in held_out["clip_id"]:
        n_seconds = len(store.clip(clip_id))
        crying = truth.segments(clip_id, n_seconds)
        seconds = by_clip[clip_id]["start_s"].astype(int)
        hits.append(crying[seconds].mean())
        chances.append(crying.mean())
    if not hits:
        return None, None
    return float(np.mean(hits)), float(np.mean(chances))
