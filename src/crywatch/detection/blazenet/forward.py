"""Stored pictures through a network, many clips at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from crywatch.data.features import ClipFeatures, FeatureStore
from crywatch.detection.blazenet.frontend import FRAMES


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
