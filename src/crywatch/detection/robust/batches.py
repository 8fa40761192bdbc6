"""Batches as functions of seed and step, made ahead by a thread of their own.

What a batch holds depends on nothing that came before it: a killed training goes on with the very
same ones, and it does not matter when the thread makes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from crywatch.detection.blazenet.frontend import FrontEndConfig, pictures
from crywatch.detection.robust.augmentation import (
    AugmentationConfig,
    augment,
    draw_speeds,
    mask_strips,
)
from crywatch.detection.robust.draws import SAMPLES, DrawnSeconds, Pool, Pools
from crywatch.detection.robust.negatives import make_tones, scramble
from crywatch.detection.robust.recipe import RecipeConfig
from crywatch.detection.robust.teaching import doubt_weights, soften_targets

AHEAD = 3  # batches in memory that no step has seen yet
NO_CORPUS = -1  # of what is made

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Network input and what it is."""

    pictures: Tensor  # [n, 64, 64]
    targets: Tensor  # [n] float32, 1 for a cry; between where two were mixed or a teacher was asked
    labels: Tensor  # [n] bool, of what prevails in the picture
    corpora: Tensor  # [n] int64, NO_CORPUS for what is made
    weights: Tensor  # [n] float32
    classes: Tensor | None  # [n, classes] a teacher's scores, where the recipe needs them
    taught: Tensor  # [n] bool: the row of ``classes`` holds any
    keep: Tensor | None  # [n, features] float32 factors of dropout


@dataclass(frozen=True)
class _Seconds:
    """Waves [n, 8000] and the rest as in `Batch`."""

    waves: np.ndarray
    labels: np.ndarray
    corpora: np.ndarray
    classes: np.ndarray | None
    taught: np.ndarray


class Batches:
    """Draws, changes and pictures of a recipe."""

    def __init__(self, pools: Pools, recipe: RecipeConfig, seed: int, n_features: int):
        self.pools, self.recipe, self.seed = pools, recipe, seed
        self._n_features = n_features

    @torch.no_grad()
    def batch(self, step: int) -> Batch:
        """Of a step; a function of seed and step alone."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, step])
        n = recipe.training.batch_size
        seconds = self._seconds(rng, n)
        labels = seconds.labels
        config = recipe.augmentation
        backgrounds = None
        if config.background is not None:
            backgrounds = self.pools.others.draw(rng, n).waves
        waves = augment(seconds.waves, backgrounds, config, rng)
        images = self._pictures(waves, recipe.front_end, config, rng)
        targets = labels.astype(np.float32)
        smoothing = recipe.training.label_smoothing
        targets = targets * (1 - 2 * smoothing) + smoothing
        weights = np.ones(n, dtype=np.float32)
        classes = None
        if seconds.classes is not None:
            classes = torch.from_numpy(seconds.classes)
            targets = soften_targets(targets, seconds.classes, seconds.taught, recipe.teacher)
            if recipe.teacher.doubt:
                weights = doubt_weights(labels, seconds.classes, seconds.taught, recipe.teacher)
        target = torch.from_numpy(targets)
        if recipe.training.mixup:
            share = float(rng.beta(recipe.training.mixup, recipe.training.mixup))
            share = max(share, 1 - share)
            other = torch.from_numpy(rng.permutation(n))
            images = share * images + (1 - share) * images[other]
            target = share * target + (1 - share) * target[other]
            # The head on classes learns from the one that prevails.
        return Batch(
            images,
            target,
            torch.from_numpy(labels),
            torch.from_numpy(seconds.corpora),
            torch.from_numpy(weights),
            classes,
            torch.from_numpy(seconds.taught),
            self._keep(rng, n),
        )

    def _seconds(self, rng: np.random.Generator, n: int) -> _Seconds:
        """A batch before it is changed."""
        recipe, pools = self.recipe, self.pools
        labels = rng.random(n) < recipe.draws.cry_share
        kind = rng.random(n)
        limits = np.cumsum([recipe.negatives.scrambled, recipe.negatives.tones])
        is_scrambled = ~labels & (kind < limits[0])
        is_tone = ~labels & (kind >= limits[0]) & (kind < limits[1])
        from_others = ~labels & (kind >= limits[1])
        # Of what is drawn, and not made, a share comes from pauses.
        is_pause = from_others & (rng.random(n) < recipe.draws.pauses) & (len(pools.pauses) > 0)
        factors = draw_speeds(recipe.augmentation, rng, n)
        waves = np.zeros((n, SAMPLES), dtype=np.float32)
        corpora = np.full(n, NO_CORPUS, dtype=np.int64)
        has_teacher = np.zeros(n, dtype=bool)
        classes = None
        if recipe.teacher.needed:
            classes = np.zeros((n, pools.n_classes), dtype=np.float32)

        def fill(rows: np.ndarray, pool: Pool) -> None:
            if not rows.any():
                return
            seconds: DrawnSeconds = pool.draw(
                rng, int(rows.sum()), None if factors is None else factors[rows]
            )
            waves[rows], corpora[rows] = seconds.waves, seconds.corpora
            if classes is not None and seconds.classes is not None:
                classes[rows], has_teacher[rows] = seconds.classes, True

        fill(labels, pools.cries)
        fill(from_others & ~is_pause, pools.others)
        fill(is_pause, pools.pauses)
        fill(is_scrambled, pools.cries)
        if is_scrambled.any():
            waves[is_scrambled] = scramble(waves[is_scrambled], rng)
            has_teacher[is_scrambled], corpora[is_scrambled] = False, NO_CORPUS
        if is_tone.any():
            waves[is_tone] = make_tones(int(is_tone.sum()), SAMPLES, rng)
        return _Seconds(waves, labels, corpora, classes, has_teacher)

    @staticmethod
    def _pictures(
        waves: np.ndarray,
        front_end: FrontEndConfig,
        config: AugmentationConfig,
        rng: np.random.Generator,
    ) -> Tensor:
        floor_db = None
        if config.floor_db is not None:
            floor_db = torch.from_numpy(config.floor_db.draw(rng, len(waves)).astype(np.float32))
        images = pictures(torch.from_numpy(waves.astype(np.float32)), front_end, floor_db)
        if config.masking is not None:
            images = torch.from_numpy(mask_strips(images.numpy(), config.masking, rng))
        return images

    def _keep(self, rng: np.random.Generator, n: int) -> Tensor | None:
        share = self.recipe.training.dropout
        if not share:
            return None
        mask = rng.random((n, self._n_features), dtype=np.float32) >= share
        return torch.from_numpy(mask.astype(np.float32) / (1 - share))


def make_ahead(make: Callable[[int], T], first: int, last: int) -> Generator[T, None, None]:
    """``make(first)`` to ``make(last - 1)`` in order, made ahead on another thread.

    NumPy, SciPy and torch let go of the interpreter while they compute: two cores are used.
    """
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = deque(pool.submit(make, step) for step in range(first, min(last, first + AHEAD)))
        try:
            for step in range(first, last):
                batch = waiting.popleft().result()
                if step + AHEAD < last:
                    waiting.append(pool.submit(make, step + AHEAD))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
