"""Mahalanobis distance with a covariance shrunk to a sphere (Ledoit and Wolf, 2004).

With S the covariance of n clips in d dimensions, m its mean variance and s their shrinkage, the
covariance is (1 - s) S + s m I. It is kept as its few directions: outside of what n clips span it
is a sphere, so n clips take n x d numbers and no d x d ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.infants.models.contract import (
    Arrays,
    Baseline,
    InfantModel,
    group_alike,
    pad_rows,
    stack_padded,
)

_BATCH_NUMBERS = 1 << 22  # that one stack holds at most


@dataclass
class MahalanobisConfig:
    """What a single clip, or clips that are all alike, need."""

    least_variance: float  # of a direction; embeddings of length 1 have 1 / dim on average


class Mahalanobis(InfantModel):
    """The distance itself, the root of the quadratic form."""

    name = "mahalanobis"

    def __init__(self, config: MahalanobisConfig):
        self.config = config

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``mean`` [dim], ``sphere`` (variance outside ``axes``), ``axes`` [rank, dim], ``gains``.

        ``gains`` [rank] is what an axis takes off the precision 1 / sphere. Infants with equally
        many clips are solved together.
        """
        out: list[Arrays] = [{} for _ in baselines]
        if not baselines:
            return out
        dim = baselines[0].vectors.shape[1]
        sizes = [len(baseline) for baseline in baselines]
        for rows in _batches(sizes, [n * max(n, dim) for n in sizes]):
            vectors = np.stack([baselines[row].vectors for row in rows]).astype(float)
            for row, arrays in zip(rows, self._fit_alike(vectors), strict=True):
                out[row] = arrays
        return out

    def _fit_alike(self, vectors: np.ndarray) -> Iterator[Arrays]:
        """Of ``vectors`` [infants, n, dim]."""
        count, n, dim = vectors.shape
        mean = vectors.mean(axis=1)
        centred = vectors - mean[:, None]
        # The eigenvalues of n x n products are those of d x d ones; the smaller is solved.
        if n <= dim:
            values, left = np.linalg.eigh(centred @ centred.swapaxes(1, 2) / n)
            scale = np.sqrt(np.maximum(values * n, 1e-300))
            axes = (left / scale[:, None, :]).swapaxes(1, 2) @ centred
        else:
            values, right = np.linalg.eigh(centred.swapaxes(1, 2) @ centred / n)
            axes = right.swapaxes(1, 2)
        values = np.maximum(values, 0)
        shrunk = _shrinkage(centred, values)
        variance = values.sum(axis=1) / dim
        sphere = np.maximum(shrunk * variance, self.config.least_variance)
        along = (1 - shrunk)[:, None] * values
        gains = 1 / sphere[:, None] - 1 / (sphere[:, None] + along)
        # Centred clips span one direction less; noise in it would be an axis of no length.
        kept = values > 1e-12 * np.maximum(values.sum(axis=1, keepdims=True), 1e-300)
        for one in range(count):
            yield {
                "mean": mean[one].astype(np.float32),
                "sphere": np.array([sphere[one]]),
                "axes": axes[one][kept[one]].astype(np.float32),
                "gains": gains[one][kept[one]],
            }

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Infants whose axes and clips fill the same shape are computed together."""
        out = [np.zeros(0)] * len(models)
        if not models:
            return out
        dim = len(models[0]["mean"])
        shapes = [
            (pad_rows(len(model["gains"])), pad_rows(len(part)))
            for model, part in zip(models, clips, strict=True)
        ]
        for rows in _batches(shapes, [(a + b) * dim for a, b in shapes]):
            ranks, most = shapes[rows[0]]
            centred = stack_padded([clips[row] - models[row]["mean"] for row in rows], most)
            axes = stack_padded([models[row]["axes"] for row in rows], ranks)
            gains = stack_padded([models[row]["gains"][:, None] for row in rows], ranks)
            sphere = np.stack([models[row]["sphere"] for row in rows])
            along = np.matmul(centred, axes.swapaxes(1, 2), dtype=float) ** 2 @ gains
            squared = np.square(centred, dtype=float).sum(axis=2) / sphere - along[:, :, 0]
            scores = np.sqrt(np.maximum(squared, 0))
            for place, row in enumerate(rows):
                out[row] = scores[place, : len(clips[row])]
        return out

    def cross(self, models: Sequence[Arrays], vectors: np.ndarray) -> np.ndarray:
        """A product a model: what the vectors are by themselves is computed once."""
        vectors = np.asarray(vectors, dtype=float)
        squares = np.square(vectors).sum(axis=1)
        out = np.zeros((len(models), len(vectors)))
        for row, model in enumerate(models):
            mean, axes = model["mean"].astype(float), model["axes"].astype(float)
            length = squares - 2 * (vectors @ mean) + mean @ mean
            along = (vectors @ axes.T - axes @ mean) ** 2 @ model["gains"]
            out[row] = np.maximum(length / model["sphere"] - along, 0)
        return np.sqrt(out)


def _shrinkage(centred: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's shrinkage [infants], 0..1, from clips [infants, n, dim]."""
    _, n, dim = centred.shape
    squares = np.square(values).sum(axis=1)  # of the covariance's entries
    variance = values.sum(axis=1) / dim
    fourth = np.square(np.square(centred).sum(axis=2)).sum(axis=1)
    wanted = (squares - dim * variance**2) / dim
    noise = np.minimum((fourth / n - squares) / (dim * n), wanted)
    share = np.divide(noise, wanted, out=np.ones_like(noise), where=wanted > 0)
    return np.clip(share, 0, 1)


def _batches(keys: Sequence, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Positions of equal keys, so many at once as ``numbers`` (of each) allow."""
    size = dict(zip(keys, numbers, strict=True))
    for rows in group_alike(keys, len(keys)):
        most = max(1, _BATCH_NUMBERS // size[keys[rows[0]]])
        yield from np.split(rows, range(most, len(rows), most))
