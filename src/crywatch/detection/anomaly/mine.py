"""Stage ``mine``: the anomaly network on one data set, and the seconds it scores highest (Table 3).

The network learns from clip labels alone; the top-t seconds of every clip are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.errors import ConfigError, named
from crywatch.core.models import save
from crywatch.core.paths import MINED_SECONDS
from crywatch.core.progress import progress
from crywatch.data.features import FeatureStore
from crywatch.data.selection import Source, labelled, strong_labels
from crywatch.data.tables import empty, write_table
from crywatch.data.tables.clips import MINED
from crywatch.data.truth import Truth
from crywatch.detection.anomaly.network import RtfmNetwork, load_head, score_seconds
from crywatch.detection.anomaly.training import (
    UNTRIMMED,
    AnomalySummary,
    BagEvaluation,
    BagTrainingConfig,
    train_on,
)
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.engine import LOCAL, Engine, Work

BATCH = 256  # clips scored by one call of a work


@dataclass
class DatasetConfig:
    """A line of Table 3."""

    segments: int  # of a bag


@dataclass(frozen=True)
class MineConfig(BagTrainingConfig):
    """Section ``mine``."""

    top_t: int  # seconds kept of every clip
    datasets: dict[str, DatasetConfig]  # trimmed, untrimmed


@dataclass(frozen=True)
class MineInputs:
    """The files the stage reads."""

    clips: dict[str, Path]  # table split_clips of each data set
    known: dict[str, Source]  # recordings that are mined too, to measure it by their onsets
    features: Path  # the embedder's


@dataclass(frozen=True)
class MinedSummary:
    """How much was mined, and how well where the truth is known."""

    clips: int
    seconds: int
    precision: float | None  # share of seconds mined of cry recordings that hold a cry
    chance: float | None  # the same for seconds taken at random

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store; what is not known is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class MineSummary:
    """What the stage did."""

    training: AnomalySummary
    mined: MinedSummary

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return self.training.as_metrics() | self.mined.as_metrics()


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
    dataset: str,
    config: MineConfig,
    embedder: EmbedderConfig,
    inputs: MineInputs,
    scale: float,
    seed: int,
    out_dir: Path,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None = None,
    engine: Engine = LOCAL,
) -> MineSummary:
    """Train on the clips of ``dataset`` and mine them.

    Writes a model folder, and in it mined/seconds.parquet.
    """
    segments = named(config.datasets, dataset, "mine.datasets").segments
    clips_table = named(inputs.clips, dataset, "mine.datasets: the project")
    store = FeatureStore(inputs.features)
    if store.info.name != embedder.name:
        raise ConfigError(
            f"{inputs.features}: numbers of {store.info.name}, but embedder.name is "
            f"{embedder.name}: run `dvc repro embed`"
        )
    trained, training = train_on(
        dataset, clips_table, "", store, segments, config, scale, seed, work_dir, on_evaluation
    )
    description = {
        "kind": "rtfm",
        "name": f"{embedder.title}, miner {dataset}",
        "segment_s": 1.0,
        "embedder": asdict(embedder) | {"digest": store.info.digest},
        "dim": store.info.dim,
        "segments": segments,
        "top_k": config.top_k,
        "temporal": config.temporal,
        "loss": asdict(config.loss),
        "corpora": list(training.corpora),
    }
    with atomic_dir(out_dir) as temp:
        save(temp, trained.model(description))
        work, known = Mining(temp, inputs.features, config.top_t), inputs.known.get(dataset)
        clips = labelled(clips_table, weak=dataset == UNTRIMMED)
        mined = mine_clips(clips, work, temp / MINED_SECONDS, known, engine)
        summary = MineSummary(training, mined)
        write_json(temp / "metrics.json", summary.as_metrics())
    return summary


def mine_clips(
    clips: pd.DataFrame,
    work: Mining,
    out_table: Path,
    known: Source | None = None,
    engine: Engine = LOCAL,
) -> MinedSummary:
    """Mine ``clips`` of every part, and the recordings ``known``, by which it is measured."""
    with_onsets = clips[:0] if known is None else labelled(known.clips)
    ids = list(dict.fromkeys([*clips["clip_id"], *with_onsets["clip_id"]]))
    mined_clips = engine.map(work, (ids[at : at + BATCH] for at in range(0, len(ids), BATCH)))
    rows = []
    for clip in progress(mined_clips, "mine", len(ids), "clip"):
        pairs = zip(clip.seconds, clip.scores, strict=True)
        rows += [(clip.clip_id, float(s), score, rank) for rank, (s, score) in enumerate(pairs)]
    mined = pd.DataFrame(rows, columns=list(empty(MINED).columns))
    write_table(mined, out_table, MINED)
    precision = chance = None
    if known is not None:
        events = strong_labels([known.events])
        precision, chance = mining_precision(mined, with_onsets, events, work.store)
    return MinedSummary(len(ids), len(mined), precision, chance)


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
