"""Scores of stored features: every model on every plain second, with no audio decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.anomaly.training import score_seconds
from crywatch.blazenet.frontend import FRAMES
from crywatch.blazenet.network import BlazeNet, cry_probability
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


def anomaly_scores(model_dir: Path, store: FeatureStore, clips: list[str]) -> Iterator[ClipScores]:
    """Scores by an anomaly head of the vectors it was trained on."""
    network = load_head(model_dir)
    for clip_id in progress(clips, f"score {model_dir.name}", unit="clip"):
        yield ClipScores(clip_id, score_seconds(network, store.clip(clip_id)))


@torch.inference_mode()
def blazenet_scores(model_dir: Path, store: FeatureStore, clips: list[str]) -> Iterator[ClipScores]:
    """Scores by BlazeNet of stored pictures."""
    network = BlazeNet()
    load(model_dir).fill(network, "backbone")
    network.eval()
    held: list[ClipScores] = []
    count = 0
    for clip_id in progress(clips, f"score {model_dir.name}", unit="clip"):
        held.append(ClipScores(clip_id, store.clip(clip_id)))
        count += len(held[-1].scores)
        if count >= BATCH:
            yield from _forward(network, held)
            held, count = [], 0
    if held:
        yield from _forward(network, held)


def _forward(network: BlazeNet, held: list[ClipScores]) -> Iterator[ClipScores]:
    rows = np.concatenate([item.scores for item in held]).astype(np.float32)
    pictures = torch.from_numpy(rows).reshape(len(rows), -1, FRAMES)
    scores = cry_probability(network(pictures)).numpy().astype(np.float64)
    cuts = np.cumsum([len(item.scores) for item in held])[:-1]
    for item, part in zip(held, np.split(scores, cuts), strict=True):
        yield ClipScores(item.clip_id, part)
