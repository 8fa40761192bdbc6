"""Losses of the robust training: on targets, hard ones more, and on what features tell of corpora.

Two ways to make features alike over corpora, both gone when the training is over. `moments`: means
and deviations of the features of a class are the same in every corpus. `adversarial`: a small head
learns to name the corpus within the class, and its gradient reaches the features reversed (Y. Ganin
and V. Lempitsky, Unsupervised domain adaptation by backpropagation, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.detection.blazenet.network import FEATURES

ALIGNMENTS = ("none", "moments", "adversarial")
EASY = 0.1  # an easy row keeps some weight
LEAST_ROWS = 4  # of a class and corpus in a batch, for moments
HIDDEN = 64


@dataclass  # not frozen: OmegaConf merges into it
class AlignmentConfig:
    """What makes features alike over corpora."""

    kind: str  # see ALIGNMENTS
    weight: float

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        if self.kind not in ALIGNMENTS or self.weight < 0:
            raise ConfigError(
                f"{key}: kind is {self.kind!r} and weight {self.weight:g}; there are "
                f"{', '.join(ALIGNMENTS)} with weights of 0 or more"
            )


def target_loss(logits: Tensor, targets: Tensor, weights: Tensor, hard_power: float) -> Tensor:
    """Binary cross-entropy of ``logits`` [n]; hard rows count more, all together as much.

    A row weighs as its own loss and `EASY` to ``hard_power``: confusers, which are often missed,
    are heard as if they were drawn more often.
    """
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if hard_power:
        weights = weights * (losses.detach() + EASY) ** hard_power
        weights = weights / weights.mean()
    return (weights * losses).mean()


def moment_gap(features: Tensor, labels: Tensor, corpora: Tensor) -> Tensor:
    """How far apart corpora lie within each class, in squared deviations of it; 0 at best."""
    gaps = []
    for label in (False, True):
        rows = (labels == label) & (corpora >= 0)
        features_of = [features[rows & (corpora == c)] for c in corpora[rows].unique().tolist()]
        features_of = [part for part in features_of if len(part) >= LEAST_ROWS]
        if len(features_of) < 2:
            continue
        together = torch.cat(features_of)
        # Not through the scale: features would grow to make the gap look small.
        scale = together.std(dim=0).detach() + 1e-3
        mean, spread = together.mean(dim=0), together.std(dim=0)
        for part in features_of:
            gaps.append(((part.mean(dim=0) - mean) / scale).square().mean())
            gaps.append(((part.std(dim=0) - spread) / scale).square().mean())
    return torch.stack(gaps).mean() if gaps else features.sum() * 0


class Reversed(torch.autograd.Function):
    """The features as they are; their gradient times ``-weight``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


class Alignment(nn.Module):
    """The term of a recipe; the head, if it has one, stays behind when the training is over."""

    def __init__(self, config: AlignmentConfig, n_corpora: int):
        super().__init__()
        self.config = config
        self.n_corpora = n_corpora
        if config.kind == "adversarial":
            self.head = nn.Sequential(
                nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * n_corpora)
            )

    @property
    def needed(self) -> bool:
        """Whether there is such a term."""
        return self.config.kind != "none" and self.config.weight > 0 and self.n_corpora > 1

    def forward(self, features: Tensor, labels: Tensor, corpora: Tensor, progress: float) -> Tensor:
        """Of features [n, 224]; ``progress`` of the training, 0..1: the term comes in gently."""
        weight = self.config.weight * min(1.0, 2 * progress)
        if self.config.kind == "moments":
            return weight * moment_gap(features, labels, corpora)
        known = corpora >= 0
        logits = self.head(Reversed.apply(features[known], weight))
        of_class = logits.reshape(-1, 2, self.n_corpora)[
            torch.arange(len(logits)), labels[known].long()
        ]
        if not len(logits):
            return features.sum() * 0
        return functional.cross_entropy(of_class, corpora[known])
