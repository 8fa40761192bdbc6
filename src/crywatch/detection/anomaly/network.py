"""The RTFM network (Tian et al., ICCV 2021) on features of any width.

Features are refined, a residual is added, and a head scores every segment. RTFM refines by three
dilated convolutions and a non-local block side by side and a convolution that joins them (MSNL);
the paper's "few full-connection layers" (section 3.1), which may do too, see a segment alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.core.errors import ConfigError
from crywatch.core.models import ModelFolder, load

MSNL, FC = TEMPORAL = ("msnl", "fc")
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


def full_connection(dim: int) -> nn.Sequential:
    """[bags, dim, segments] to the same: two layers on each segment alone, in place of MSNL."""
    return nn.Sequential(
        nn.Conv1d(dim, WIDTH, 1),
        nn.ReLU(),
        nn.BatchNorm1d(WIDTH),
        nn.Conv1d(WIDTH, dim, 1, bias=False),
        nn.ReLU(),
        nn.BatchNorm1d(dim),
    )


class RtfmNetwork(nn.Module):
    """[bags, segments, dim] to features and scores; ``temporal`` is what refines, of `TEMPORAL`.

    ``mean`` and ``deviation`` [dim] standardise the input; they are part of the weights, so that a
    saved network needs nothing else.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, dropout: float = 0.7, temporal: str = MSNL):
        super().__init__()
        if temporal not in TEMPORAL:
            raise ConfigError(f"temporal: {temporal!r} is unknown; there are {', '.join(TEMPORAL)}")
        self.dim, self.temporal = dim, temporal
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        if temporal == FC:
            self.layers = full_connection(dim)
        else:
            self._add_msnl(dim)
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

    def _add_msnl(self, dim: int) -> None:
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

    def _refine(self, x: Tensor) -> Tensor:
        """[bags, dim, segments] to the same."""
        if self.temporal == FC:
            return self.layers(x)
        branches = [*(branch(x) for branch in self.branches), self.non_local(self.squeeze(x))]
        return self.join(torch.cat(branches, dim=1))

    def standardise_by(self, vectors: Tensor) -> None:
        """Take mean and deviation from training ``vectors`` [any, dim]."""
        self.mean.copy_(vectors.mean(dim=0))
        self.deviation.copy_(vectors.std(dim=0).clamp_min(1e-4))

    def forward(self, bags: Tensor) -> RtfmOutput:
        """``bags`` [bags, segments, dim]."""
        x = ((bags - self.mean) / self.deviation).transpose(1, 2)
        features = (self._refine(x) + x).transpose(1, 2)
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
    return head_of(load(folder))


def head_of(model: ModelFolder) -> RtfmNetwork:
    """The same of a loaded one; models that do not say what refines have RTFM's block."""
    temporal = model.description.get("temporal", MSNL)
    network = RtfmNetwork(model.setting("dim"), temporal=temporal)
    model.fill(network, "head")
    return network.eval()
