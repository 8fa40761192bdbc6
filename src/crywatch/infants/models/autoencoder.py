"""Autoencoders 192-128-64-32-64-128-192, one an infant, all trained in one batched pass.

A layer of many infants is one grouped product of [infants, clips, in] and [infants, in, out].
Losses are summed over infants and Adam works number by number, so no infant feels another. An
infant that has stopped improving stays in the batch, its best weights no longer touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from crywatch.core.errors import ConfigError, ModelError
from crywatch.core.threads import one_thread
from crywatch.infants.models.contract import (
    Arrays,
    Baseline,
    InfantModel,
    group_alike,
    held_out,
    pad_rows,
    stack_padded,
)

if TYPE_CHECKING:
    from torch import Tensor

_BETAS = (0.9, 0.999)


@dataclass
class AutoencoderConfig:
    """Section ``autoencoder``; a step is one on all clips of an infant."""

    # Of the layers down to the bottleneck those that are narrower than the embedding; the decoder
    # mirrors them.
    widths: list[int]
    lr: float
    steps: int  # at most
    check_every: int  # steps between looks at the held-out clips
    patience: int  # looks without improvement before an infant stops
    held_out: float  # share of the clips, whole sessions where there are several
    batch_infants: int  # trained at once

    def __post_init__(self) -> None:
        least = (self.steps, self.check_every, self.patience, self.batch_infants, *self.widths)
        if min(least) < 1 or len(self.widths) < 2 or not 0 < self.held_out < 1 or self.lr <= 0:
            raise ConfigError(
                "autoencoder: widths (two or more), steps, check_every, patience and "
                "batch_infants must be at least 1, lr above 0, held_out between 0 and 1"
            )


class Autoencoder(InfantModel):
    """Mean squared error of the reconstruction, as in the slides."""

    name = "autoencoder"

    def __init__(self, config: AutoencoderConfig, seed: int):
        self.config, self.seed = config, seed

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``weight0`` [in, out], ``bias0`` [out] and so on, and ``steps``, where it was best.

        With too few clips to hold any out (see `held_out`) all steps are taken.
        """
        dims = {baseline.vectors.shape[1]: baseline.infant_id for baseline in baselines}
        if len(dims) > 1 or min(dims, default=np.inf) <= self.config.widths[-1]:
            told = ", ".join(f"{dim} (infant {infant})" for dim, infant in dims.items())
            raise ModelError(
                f"embeddings of {told} numbers: all must be of one length, above the last of "
                f"autoencoder.widths ({self.config.widths[-1]})"
            )
        out: list[Arrays] = [{} for _ in baselines]
        masks = [held_out(baseline.sessions, self.config.held_out) for baseline in baselines]
        shapes = [(pad_rows(int((~m).sum())), pad_rows(int(m.sum()))) for m in masks]
        with one_thread():
            for rows in group_alike(shapes, self.config.batch_infants):
                vectors = [baselines[row].vectors for row in rows]
                trained = self._train(vectors, [masks[row] for row in rows], *shapes[rows[0]])
                for row, arrays in zip(rows, trained, strict=True):
                    out[row] = arrays
        return out

    def _train(
        self, vectors: list[np.ndarray], masks: list[np.ndarray], rows: int, check_rows: int
    ) -> Iterator[Arrays]:
        import torch

        parts = list(zip(vectors, masks, strict=True))
        kept = _Rows([part[~mask] for part, mask in parts], rows)
        check = _Rows([part[mask] for part, mask in parts], check_rows)
        weights = [
            layer.expand(len(parts), *layer.shape).clone().requires_grad_()
            for layer in self._initial(vectors[0].shape[1])
        ]
        best = [weight.detach().clone() for weight in weights]
        best_loss = torch.full((len(parts),), torch.inf)
        best_step = torch.zeros(len(parts), dtype=torch.int64)
        waited = torch.zeros(len(parts), dtype=torch.int64)
        unchecked = torch.from_numpy(~np.array([mask.any() for mask in masks]))
        adam = torch.optim.Adam(weights, lr=self.config.lr, betas=_BETAS, fused=True)
        for step in range(1, self.config.steps + 1):
            adam.zero_grad()
            kept.loss(_apply(weights, kept.vectors)).sum().backward()
            adam.step()
            if step % self.config.check_every and step != self.config.steps:
                continue
            with torch.no_grad():
                loss = check.loss(_apply(weights, check.vectors))
                going = waited < self.config.patience
                better = going & (unchecked | (loss < best_loss))
                for stored, weight in zip(best, weights, strict=True):
                    stored[better] = weight[better]
            best_loss = torch.where(better, loss, best_loss)
            best_step = torch.where(better, step, best_step)
            waited = torch.where(better, 0, waited + 1)
            if not (waited < self.config.patience).any():
                break
        names = [f"{kind}{layer}" for layer in range(len(best) // 2) for kind in ("weight", "bias")]
        for row in range(len(parts)):
            arrays = {
                name: stored[row].numpy().copy() for name, stored in zip(names, best, strict=True)
            }
            for name in names:
                if name.startswith("bias"):
                    arrays[name] = arrays[name][0]
            yield arrays | {"steps": best_step[row : row + 1].numpy().copy()}

    def _initial(self, dim: int) -> list[Tensor]:
        """Weights [in, out] and biases [1, out] by turns; every infant begins with the same."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        down = [dim, *(width for width in self.config.widths if width < dim)]
        layers = []
        for n_in, n_out in pairwise([*down, *down[-2::-1]]):
            bound = n_in**-0.5  # torch's own for a linear layer
            for shape in ((n_in, n_out), (1, n_out)):
                layers.append((2 * torch.rand(shape, generator=generator) - 1) * bound)
        return layers

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Infants in one batch as in training."""
        import torch

        if not models:
            return []
        out = [np.zeros(0)] * len(models)
        shapes = [pad_rows(len(part)) for part in clips]
        layers = range(sum(name.startswith("weight") for name in models[0]))
        with one_thread(), torch.inference_mode():
            for rows in group_alike(shapes, self.config.batch_infants):
                part = _Rows([clips[row] for row in rows], shapes[rows[0]])
                weights = []
                for layer in layers:
                    for name in (f"weight{layer}", f"bias{layer}"):
                        stack = torch.from_numpy(np.stack([models[row][name] for row in rows]))
                        weights.append(stack[:, None] if name.startswith("bias") else stack)
                errors = part.errors(_apply(weights, part.vectors)).double().numpy()
                for place, row in enumerate(rows):
                    out[row] = errors[place, : len(clips[row])]
        return out


class _Rows:
    """Clips of several infants in one tensor [infants, rows, dim]."""

    def __init__(self, parts: Sequence[np.ndarray], rows: int):
        import torch

        dim = parts[0].shape[1]
        # Numbers of an embedding of length 1 are about dim**-0.5: the network sees them near 1.
        self._scale = dim**0.5
        padded = stack_padded([np.asarray(part, dtype=np.float32) for part in parts], rows)
        self.vectors = torch.from_numpy(padded * np.float32(self._scale))
        counts = torch.tensor([len(part) for part in parts])
        self._mask = (torch.arange(rows) < counts[:, None]).float()
        self._share = self._mask / counts.clamp(min=1)[:, None]

    def errors(self, made: Tensor) -> Tensor:
        """[infants, rows]: mean squared error of a clip, in the embedding's own scale."""
        return (made - self.vectors).square().mean(dim=2) / self._scale**2

    def loss(self, made: Tensor) -> Tensor:
        """[infants]: mean over an infant's own clips, in the network's scale."""
        return ((made - self.vectors).square().mean(dim=2) * self._share).sum(dim=1)


def _apply(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """[infants, rows, dim] through the layers; ReLU but after the last."""
    import torch

    for number in range(0, len(weights), 2):
        x = torch.baddbmm(weights[number + 1], x, weights[number])
        if number < len(weights) - 2:
            x = torch.relu(x)
    return x
