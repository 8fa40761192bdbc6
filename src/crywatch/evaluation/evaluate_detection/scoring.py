"""Scores of every model on every plain second: of stored features, or of the sound itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.audio.decode import read_clean
from crywatch.core.models import load
from crywatch.core.progress import progress
from crywatch.data.features import FeatureStore
from crywatch.detection.anomaly.network import load_head, score_seconds
from crywatch.detection.blazenet.forward import forward
from crywatch.detection.blazenet.network import BlazeNet, cry_probability
from crywatch.detection.detectors import load_detector

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
    features: Path | None  # a store; None: it listens to the clips
    segment_s: float
    leave_out: str  # corpus never trained on, or ""

    @property
    def family(self) -> str:
        """miner, blazenet, rtfm, robust."""
        return self.name.split("/")[0]


def clip_scores(model: ModelRef, clips: Mapping[str, str]) -> Iterator[ClipScores]:
    """Scores of every segment of ``clips`` (clip id to the path of its sound), in their order."""
    if model.features is None:
        yield from wave_scores(model.folder, clips)
        return
    scorer = blazenet_scores if model.family == "blazenet" else anomaly_scores
    yield from scorer(model.folder, FeatureStore(model.features), list(clips))


def wave_scores(model_dir: Path, clips: Mapping[str, str]) -> Iterator[ClipScores]:
    """Scores of every plain second by the detector itself."""
    detector = load_detector(model_dir)
    shown = progress(clips.items(), f"score {model_dir.name}", len(clips), "clip")
    for clip_id, path in shown:
        yield ClipScores(clip_id, np.asarray(detector.score(read_clean(path)), dtype=np.float64))


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
    for clip in forward(store, shown, scores, BATCH):
        yield ClipScores(clip.clip_id, clip.vectors.astype(np.float64))
