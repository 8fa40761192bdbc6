"""Bags: the seconds of a recording as a fixed number of segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crywatch.core.errors import TableError
from crywatch.data.features import FeatureStore


@dataclass(frozen=True)
class Bags:
    """All bags of a part."""

    abnormal: Tensor  # [bags, segments, dim] float32: a cry somewhere
    normal: Tensor  # [bags, segments, dim] float32: no cry

    @property
    def dim(self) -> int:
        """Feature width."""
        return self.abnormal.shape[2]


def fit_to_segments(vectors: np.ndarray, segments: int) -> np.ndarray:
    """[n, dim] to [segments, dim] float32: means of equal parts, or interpolated.

    The parts are those of RTFM's features (Tian et al., ICCV 2021): every second is in one segment.
    Fewer seconds than segments are interpolated linearly; the first and last stay where they are.
    """
    n = len(vectors)
    if n == segments:
        return np.asarray(vectors, dtype=np.float32)
    if n > segments:
        edges = np.linspace(0, n, segments + 1).astype(int)
        sums = np.add.reduceat(vectors, edges[:-1], axis=0, dtype=np.float64)
        return (sums / np.diff(edges)[:, None]).astype(np.float32)
    position = np.linspace(0, n - 1, segments)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, n - 1)
    weight = (position - below)[:, None]
    return ((1 - weight) * vectors[below] + weight * vectors[above]).astype(np.float32)


def collect(clips: pd.DataFrame, store: FeatureStore, segments: int, part: str) -> Bags:
    """Bags of the clips of ``part``; TableError if one of the two labels is missing."""
    sides = {}
    for label in ("cry", "other"):
        clips_of_label = clips[(clips["split"] == part) & (clips["label"] == label)]
        ids: Sequence[str] = clips_of_label["clip_id"].tolist()
        if not ids:
            raise TableError(f"part {part} has no clip labelled {label!r} to learn from")
        bags = np.empty((len(ids), segments, store.info.dim), dtype=np.float32)
        for row, clip_id in enumerate(ids):
            bags[row] = fit_to_segments(store.clip(clip_id), segments)
        sides[label] = torch.from_numpy(bags)
    return Bags(abnormal=sides["cry"], normal=sides["other"])
