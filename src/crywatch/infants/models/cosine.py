"""Cosine distance to the centroid: the fewest assumptions, from one clip on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crywatch.infants.models.contract import Arrays, Baseline, InfantModel, split_portions

_ROWS = 1 << 15  # clips at once


class Cosine(InfantModel):
    """1 - cosine between a clip and the mean direction of the baseline, 0 to 2."""

    name = "cosine"

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``centroid`` [dim], of length 1 (of length 0 where the clips cancel out)."""
        out: list[Arrays] = []
        for some in split_portions([len(baseline) for baseline in baselines], _ROWS):
            units = unit(np.concatenate([baseline.vectors for baseline in baselines[some]]))
            starts = np.cumsum([0, *map(len, baselines[some])][:-1])
            centroids = unit(np.add.reduceat(units, starts, axis=0)).astype(np.float32)
            out += [{"centroid": centroid} for centroid in centroids]
        return out

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All clips of all infants in one product."""
        if not models:
            return []
        sizes = [len(part) for part in clips]
        owner = np.repeat(np.arange(len(models)), sizes)
        centroids = np.stack([model["centroid"] for model in models]).astype(float)
        units = unit(np.concatenate(clips))
        scores = 1 - np.einsum("md,md->m", units, centroids[owner])
        return np.split(scores, np.cumsum(sizes)[:-1])

    def cross(self, models: Sequence[Arrays], vectors: np.ndarray) -> np.ndarray:
        """One product."""
        centroids = [model["centroid"] for model in models]
        stack = np.stack(centroids).astype(float) if centroids else np.zeros((0, vectors.shape[1]))
        return 1 - stack @ unit(vectors).T


def unit(vectors: np.ndarray) -> np.ndarray:
    """``vectors`` [n, dim] at length 1, in double precision; zeros stay zeros."""
    vectors = np.asarray(vectors, dtype=float)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
