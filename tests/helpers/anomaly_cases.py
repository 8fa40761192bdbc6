"""Small inputs for the tests of the anomaly network: outputs, bags, losses, tables and features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from crywatch.data.features import ClipFeatures, FeatureWriter, StoreInfo
from crywatch.detection.anomaly.bags import Bags
from crywatch.detection.anomaly.losses import BagLossConfig
from crywatch.detection.anomaly.network import RtfmOutput
from crywatch.detection.anomaly.training import BagTrainingConfig
from tests.helpers.blazenet_cases import write_clips

MIL = BagLossConfig("mil", alpha=0.0, margin=1.0, margin_dim=0, sparsity=8e-5, smoothness=8e-5)
RTFM = BagLossConfig(
    "rtfm", alpha=1e-4, margin=100.0, margin_dim=2048, sparsity=8e-3, smoothness=8e-4
)


def output(features, scores) -> RtfmOutput:
    """What a network would have said, from nested lists."""
    return RtfmOutput(torch.tensor(features), torch.tensor(scores))


def training_config(**changes) -> BagTrainingConfig:
    """A training of a few steps."""
    given = {
        "loss": RTFM,
        "top_k": 2,
        "lr": 0.001,
        "weight_decay": 0.0005,
        "steps": 24,
        "batch_size": 4,
        "val_every": 6,
        "patience_steps": 1000,
        "dropout": 0.7,
        "threads": 1,
        "temporal": "msnl",
    }
    return BagTrainingConfig(**(given | changes))


def fields_of(config: BagTrainingConfig) -> dict:
    """The fields of a training as keywords of a stage's own configuration."""
    return asdict(config) | {"loss": config.loss}


def toy_bags(n: int, seed: int, dim: int = 6, segments: int = 5) -> Bags:
    """Noise; in every abnormal bag one segment, row modulo ``segments``, stands out."""
    generator = torch.Generator().manual_seed(seed)
    abnormal, normal = (torch.randn(n, segments, dim, generator=generator) for _ in range(2))
    rows = torch.arange(n)
    abnormal[rows, rows % segments, 0] += 6
    return Bags(abnormal, normal)


def clip_vectors(clip_id: str, seconds: int, dim: int) -> np.ndarray:
    """[seconds, dim] noise; the first number is high in one second of a clip that cries."""
    rng = np.random.default_rng(list(clip_id.encode()))
    vectors = rng.standard_normal((seconds, dim)).astype(np.float32)
    if "cry" in clip_id:
        vectors[seconds // 2, 0] += 6
    return vectors


def vector_store(folder: Path, clips: dict[str, np.ndarray], info: StoreInfo) -> Path:
    """A feature store of ``clips`` (clip_id -> [seconds, dim])."""
    writer = FeatureWriter(info, folder.with_name(f"{folder.name}.work"))
    corpora = sorted({clip_id.partition("/")[0] for clip_id in clips})
    for corpus in corpora:
        mine = [clip_id for clip_id in clips if clip_id.partition("/")[0] == corpus]
        writer.write(corpus, [ClipFeatures(clip_id, clips[clip_id]) for clip_id in mine])
    writer.finish(corpora, folder)
    return folder


def two_corpora() -> list[dict]:
    """Rows of "split_clips": corpora a and b, every part, with a duplicate and an unlabelled clip.

    Clip ``b/train_cry0`` is of one group with ``a/train_cry0``.
    """
    rows = []
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        for label in ("cry", "other"):
            rows += [
                {"clip_id": f"{corpus}/{part}_{label}{i}", "label": label, "split": part}
                for corpus in "ab"
                for i in range(count)
            ]
    for row in rows:
        if row["clip_id"].endswith("/train_cry0"):
            row["group_id"] = "together"
    copy = {"clip_id": "a/copy_cry", "label": "cry", "split": "train", "canonical": False}
    return [*rows, copy, {"clip_id": "a/unknown", "label": "unknown", "split": "train"}]


def seconds_of(row: dict) -> int:
    """Seconds of a clip of `two_corpora`: from 1 to 7, by its name."""
    return 1 + sum(row["clip_id"].encode()) % 7


def write_two_corpora(folder: Path, info: StoreInfo, parts=("train", "val")) -> tuple[Path, Path]:
    """The table of `two_corpora` and a store with the features of ``parts`` alone."""
    rows = two_corpora()
    clips = {
        row["clip_id"]: clip_vectors(row["clip_id"], seconds_of(row), info.dim)
        for row in rows
        if row["split"] in parts
    }
    table = write_clips(folder / "clips.parquet", rows)
    return table, vector_store(folder / "features", clips, info)
