"""Losses on pairs of abnormal and normal bags: MIL ranking (Sultani et al.) and RTFM.

Equation numbers are those of the weakly supervised cry detection paper. Sparsity and smoothness are
sums over the segments of one bag, then means over bags: neither ever crosses from one bag to the
next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.detection.anomaly.network import RtfmOutput


@dataclass
class BagLossConfig:
    """Config group ``loss``."""

    name: str  # rtfm, mil
    alpha: float  # weight of RTFM's magnitude term
    margin: float  # of the magnitudes (rtfm, for margin_dim) or of the scores (mil)
    margin_dim: int  # feature width that the margin was chosen for; 0: take it as it is
    sparsity: float
    smoothness: float


@dataclass(frozen=True)
class TopK:
    """The k segments of largest feature magnitude, averaged."""

    feature: Tensor  # [bags, dim]
    score: Tensor  # [bags]


class BagLoss(Protocol):
    """A loss on equally many abnormal and normal bags."""

    def __call__(self, abnormal: RtfmOutput, normal: RtfmOutput) -> Tensor:
        """A scalar."""

    def bag_scores(self, output: RtfmOutput) -> Tensor:
        """[bags]: the score that the loss pushes towards the bag's label."""


def top_k(output: RtfmOutput, k: int) -> TopK:
    """Select by magnitudes, which no dropout touches: always k live segments."""
    indices = output.magnitudes.topk(min(k, output.scores.shape[1]), dim=1).indices
    features = output.features.gather(
        1, indices.unsqueeze(2).expand(-1, -1, output.features.shape[2])
    )
    return TopK(features.mean(dim=1), output.scores.gather(1, indices).mean(dim=1))


def smoothness(scores: Tensor) -> Tensor:
    """Sum of squared steps within a bag, mean over bags [bags, segments] (third term of Eq. 3)."""
    return (scores[:, 1:] - scores[:, :-1]).square().sum(dim=1).mean()


def sparsity(scores: Tensor) -> Tensor:
    """Sum of squared scores of a bag, mean over bags (fourth term of Eq. 3)."""
    return scores.square().sum(dim=1).mean()


class MilRanking:
    """Hinge between the highest scores of paired bags (Eq. 2 and 3)."""

    def __init__(self, config: BagLossConfig):
        self.config = config

    def __call__(self, abnormal: RtfmOutput, normal: RtfmOutput) -> Tensor:
        """Pairs are bags of the same row."""
        highest = abnormal.scores.max(dim=1).values, normal.scores.max(dim=1).values
        hinge = (self.config.margin - highest[0] + highest[1]).clamp_min(0).mean()
        return (
            hinge
            + self.config.smoothness * smoothness(abnormal.scores)
            + self.config.sparsity * sparsity(abnormal.scores)
        )

    def bag_scores(self, output: RtfmOutput) -> Tensor:
        """The highest score; magnitudes mean nothing to this loss."""
        return output.scores.max(dim=1).values


class Rtfm:
    """Cross-entropy and magnitude margin on the top-k segments (Eq. 4 to 6)."""

    def __init__(self, config: BagLossConfig, k: int, dim: int):
        self.config, self.k = config, k
        scale = (dim / config.margin_dim) ** 0.5 if config.margin_dim else 1.0
        self.margin = config.margin * scale  # norms of random vectors grow as sqrt(dim)

    def __call__(self, abnormal: RtfmOutput, normal: RtfmOutput) -> Tensor:
        """The order of the bags does not matter for the cross-entropy."""
        top_a, top_n = top_k(abnormal, self.k), top_k(normal, self.k)
        scores = torch.cat([top_a.score, top_n.score]).clamp(1e-6, 1 - 1e-6)
        labels = torch.cat([torch.ones_like(top_a.score), torch.zeros_like(top_n.score)])
        entropy = functional.binary_cross_entropy(scores, labels)
        far = (self.margin - top_a.feature.norm(dim=1)).abs()
        magnitude = (far + top_n.feature.norm(dim=1)).square().mean()
        return (
            entropy
            + self.config.alpha * magnitude
            + self.config.sparsity * sparsity(abnormal.scores)
            + self.config.smoothness * smoothness(abnormal.scores)
        )

    def bag_scores(self, output: RtfmOutput) -> Tensor:
        """The mean score of the segments of largest magnitude."""
        return top_k(output, self.k).score


def build(config: BagLossConfig, k: int, dim: int) -> BagLoss:
    """The loss that ``config`` names."""
    if config.name == "mil":
        return MilRanking(config)
    if config.name == "rtfm":
        return Rtfm(config, k, dim)
    raise ConfigError(f"loss.name: {config.name!r} is unknown; there are mil, rtfm")
