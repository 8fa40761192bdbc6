"""The trained network's 224 numbers for every plain second, which an anomaly head sits on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from crywatch.core.code import code_sha256
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.models import WEIGHTS, load
from crywatch.core.progress import progress
from crywatch.data.features import ClipFeatures, FeatureStore, FeatureWriter, StoreInfo
from crywatch.detection.blazenet.frontend import FRAMES
from crywatch.detection.blazenet.network import FEATURES, network_of

BATCH = 256  # seconds


def write_embeddings(
    model_dir: Path, pictures_dir: Path, out_dir: Path, work_dir: Path, batch_size: int = BATCH
) -> None:
    """A feature store of every second of the pictures at ``pictures_dir``, of 1 s.

    An interrupted run goes on from what lies in ``work_dir``.
    """
    model = load(model_dir)
    network = network_of(model)
    pictures = FeatureStore(pictures_dir)
    digest = file_sha256(model_dir / WEIGHTS)
    info = StoreInfo(f"blazenet {model.setting('name')}", FEATURES, digest)
    key = value_sha256([vars(info), pictures.info.digest, list(pictures), code_sha256(__name__)])
    writer = FeatureWriter(info, work_dir, key)
    for corpus in pictures.corpora:
        finished = set(writer.done(corpus))
        left = [
            clip_id
            for clip_id in pictures
            if pictures.rows(clip_id).corpus == corpus and clip_id not in finished
        ]
        shown = progress(left, f"embed {corpus}", unit="clip")
        writer.write(corpus, forward(pictures, shown, network.features, batch_size))
    writer.finish(pictures.corpora, out_dir)


@torch.inference_mode()
def forward(
    store: FeatureStore,
    clip_ids: Sequence[str],
    network: Callable[[torch.Tensor], torch.Tensor],
    batch_size: int,
) -> Iterator[ClipFeatures]:
    """What ``network`` makes of pictures [n, bands, frames], [n, ...], clip by clip in order.

    A batch has at least ``batch_size`` segments (the last one fewer) and whole clips.
    """
    clips: list[ClipFeatures] = []
    count = 0
    for number, clip_id in enumerate(clip_ids, start=1):
        clips.append(ClipFeatures(clip_id, store.clip(clip_id)))
        count += len(clips[-1].vectors)
        if count >= batch_size or number == len(clip_ids):
            rows = np.concatenate([clip.vectors for clip in clips]).astype(np.float32)
            out = network(torch.from_numpy(rows).reshape(len(rows), -1, FRAMES)).numpy()
            cuts = np.cumsum([len(clip.vectors) for clip in clips])[:-1]
            for clip, part in zip(clips, np.split(out, cuts), strict=True):
                yield ClipFeatures(clip.clip_id, part)
            clips, count = [], 0
