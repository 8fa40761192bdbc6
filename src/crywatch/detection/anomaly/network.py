"""The RTFM network (Tian et al., ICCV 2021) on features of any width.

Three dilated convolutions and a non-local block side by side, a convolution that joins them, a
residual, and a head that scores every segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.core.models import load

WIDTH = 512  # channels of each branch
INNER = 256  # of the non-local block


@dataclass(frozen=True)
class RtfmOutput:
    """What the network says of bags of segments."""

    features: Tensor  # [bags, segments, dim], before dropout
    scores: Tensor  # [bags, segments], 0..1

    @property
    def magnitudes(self) -> Tensor:
        """[bags, segments]: L2 norms of the features. No dropout mask ever touches them."""
        return self.features.norm(dim=2)


class NonLocal(nn.Module):
    """Every segment looks at every other; scores are divided by the number of segments."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Conv1d(WIDTH, INNER, 1)
        self.phi = nn.Conv1d(WIDTH, INNER, 1)
        self.g = nn.Conv1d(WIDTH, INNER, 1)
        norm = nn.BatchNorm1d(WIDTH)
        self.out = nn.Sequential(nn.Conv1d(INNER, WIDTH, 1), norm)
        # Starts as the identity.
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[bags, WIDTH, segments] to the same."""
        theta, phi, g = self.theta(x).transpose(1, 2), self.phi(x), self.g(x).transpose(1, 2)
        if x.shape[-1] > INNER:
            # The same product in the other order: memory does not grow with the square of hours.
            mixed = theta @ (phi @ g / x.shape[-1])
        else:
            mixed = (theta @ phi / x.shape[-1]) @ g
        return self.out(mixed.transpose(1, 2)) + x


class RtfmNetwork(nn.Module):
    """[bags, segments, dim] to features and scores.

    ``mean`` and ``deviation`` [dim] standardise the input; they are part of the weights, so that a
    saved network needs nothing else.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, dropout: float = 0.7):
        super().__init__()
        self.dim = dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(dim, WIDTH, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.BatchNorm1d(WIDTH),
            )
            for dilation in (1, 2, 4)
        )
        self.squeeze = nn.Sequential(nn.Conv1d(dim, WIDTH, 1, bias=False), nn.ReLU())
        self.non_local = NonLocal()
        self.join = nn.Sequential(
            nn.Conv1d(4 * WIDTH, dim, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm1d(dim)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(dim, 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, 1),
            nn.Sigmoid(),
        )

    def standardise_by(self, vectors: Tensor) -> None:
        """Take mean and deviation from training ``vectors`` [any, dim]."""
        self.mean.copy_(vectors.mean(dim=0))
        self.deviation.copy_(vectors.std(dim=0).clamp_min(1e-4))

    def forward(self, bags: Tensor) -> RtfmOutput:
        """``bags`` [bags, segments, dim]."""
        x = ((bags - self.mean) / self.deviation).transpose(1, 2)
        joined = torch.cat(
            [*(branch(x) for branch in self.branches), self.non_local(self.squeeze(x))], dim=1
        )
        features = (self.join(joined) + x).transpose(1, 2)
        scores = self.head(self.dropout(features)).squeeze(2)
        return RtfmOutput(features, scores)


@torch.no_grad()
def score_seconds(network: RtfmNetwork, vectors: np.ndarray) -> np.ndarray:
    """Scores [seconds] of one recording's plain seconds [seconds, dim]."""
    network.eval()
    bag = torch.from_numpy(np.array(vectors, dtype=np.float32))[None]
    return network(bag).scores[0].numpy().astype(np.float64)


def load_head(folder: Path) -> RtfmNetwork:
    """The anomaly network of a model folder, ready to score."""
    model = load(folder)
    network = RtfmNetwork(model.setting("dim"))
    model.fill(network, "head")
    return network.eval()
