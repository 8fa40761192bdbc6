"""Stage ``embed_blazenet``: the frozen network's 224 numbers for every plain second."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from crywatch.blazenet.frontend import FRAMES
from crywatch.blazenet.network import FEATURES, BlazeNet
from crywatch.digest import code_sha256, file_sha256, value_sha256
from crywatch.errors import ConfigError
from crywatch.features import ClipFeatures, FeatureStore, FeatureWriter, StoreInfo
from crywatch.models import WEIGHTS, load
from crywatch.progress import progress
from crywatch.threads import one_thread


@dataclass(frozen=True)
class EmbedBlazenetConfig:
    """Section ``embed_blazenet``."""

    batch_size: int  # seconds
    backbones: list[str]  # variants of train_blazenet


@dataclass(frozen=True)
class EmbedBlazenetSummary:
    """What was embedded."""

    n_seconds: int


@one_thread()
def run(
    model_dir: Path,
    pictures_dir: Path,
    config: EmbedBlazenetConfig,
    out_dir: Path,
    work_dir: Path,
) -> EmbedBlazenetSummary:
    """Embed every second of the pictures at ``pictures_dir`` with the network at ``model_dir``."""
    model = load(model_dir)
    if model.setting("segment_s") != 1.0:
        raise ConfigError(
            f"embed_blazenet.backbones: {model_dir.name} has a front end of "
            f"{model.description['segment_s']:g} s; a number a second needs one of 1 s"
        )
    network = BlazeNet()
    model.fill(network, "backbone")
    network.eval()
    pictures = FeatureStore(pictures_dir)
    digest = file_sha256(model_dir / WEIGHTS)
    info = StoreInfo(f"blazenet {model_dir.name}", FEATURES, digest)
    code = code_sha256("audio.py", "blazenet", "segments.py")
    key = value_sha256([vars(info), pictures.info.digest, list(pictures), code])
    writer = FeatureWriter(info, work_dir / key[:16])
    for corpus in pictures.corpora:
        done = set(writer.done(corpus))
        left = [
            clip_id
            for clip_id in pictures
            if pictures.rows(clip_id).corpus == corpus and clip_id not in done
        ]
        writer.write(corpus, _embedded(left, pictures, network, config.batch_size, corpus))
    writer.finish(pictures.corpora, out_dir)
    shutil.rmtree(work_dir, ignore_errors=True)  # what runs on other inputs left half done
    return EmbedBlazenetSummary(FeatureStore(out_dir).n_rows)


def _embedded(
    clip_ids: list[str], pictures: FeatureStore, network: BlazeNet, size: int, what: str
) -> Iterator[ClipFeatures]:
    held: list[tuple[str, np.ndarray]] = []
    count = 0
    for clip_id in progress(clip_ids, f"embed {what}", unit="clip"):
        rows = pictures.clip(clip_id)
        held.append((clip_id, rows))
        count += len(rows)
        if count >= size:
            yield from _forward(held, network)
            held, count = [], 0
    if held:
        yield from _forward(held, network)


@torch.inference_mode()
def _forward(held: list[tuple[str, np.ndarray]], network: BlazeNet) -> Iterator[ClipFeatures]:
    rows = np.concatenate([rows for _, rows in held]).astype(np.float32)
    vectors = network.features(torch.from_numpy(rows).reshape(len(rows), -1, FRAMES)).numpy()
    cuts = np.cumsum([len(rows) for _, rows in held])[:-1]
    for (clip_id, _), part in zip(held, np.split(vectors, cuts), strict=True):
        yield ClipFeatures(clip_id, part)
