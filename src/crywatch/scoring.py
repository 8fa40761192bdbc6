"""Scores of stored features: every model on every plain second, with no audio decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.anomaly.training import score_seconds
from crywatch.blazenet.network import BlazeNet, cry_probability
from crywatch.blazenet.pictures import forward
from crywatch.features import FeatureStore
from crywatch.mine import load_head
from crywatch.models import load
from crywatch.progress import progress

BATCH = 512  # segments


@dataclass(frozen=True)
class ClipScores:
    """Scores [segments] of a clip."""

    clip_id: str
    scores: np.ndarray


@dataclass(frozen=True)
class ModelRef:
    """A model to score with, and the features it reads."""

    name: str  # family/variant
    folder: Path
    features: Path
    segment_s: float
    leave_out: str  # corpus never trained on, or ""

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm."""
        return self.name.split("/")[0]


def clip_scores(model: ModelRef, clips: list[str]) -> Iterator[ClipScores]:
    """Scores of every segment of ``clips`` (clip ids), in their order."""
    scorer = blazenet_scores if model.family == "blazenet" else anomaly_scores
    yield from scorer(model.folder, FeatureStore(model.features), clips)


def anomaly_scores(model_dir: Path, store: FeatureStore, clips: list[str]) -> Iterator[ClipScores]:
    """Scores by an anomaly head of the vectors it was trained on."""
    network = load_head(model_dir)
    for clip_id in progress(clips, f"score {model_dir.name}", unit="clip"):
        yield ClipScores(clip_id, score_seconds(network, store.clip(clip_id)))


def blazenet_scores(model_dir: Path, store: FeatureStore, clips: list[str]) -> Iterator[ClipScores]:
    """Scores by BlazeNet of stored pictures."""
    network = BlazeNet()
    load(model_dir).fill(network, "backbone")
    network.eval()

    def scores(pictures: torch.Tensor) -> torch.Tensor:
        return cry_probability(network(pictures))

    shown = progress(clips, f"score {model_dir.name}", unit="clip")
    for found in forward(store, shown, scores, BATCH):
        yield ClipScores(found.clip_id, found.vectors.astype(np.float64))
