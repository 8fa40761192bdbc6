"""Scores of a recording's windows, and how a second listens to its neighbourhood.

A window of one second begins every ``hop_s``. The logit of a second is the mean of the windows
within ``own_reach_s`` of its own, weighed against what those within ``reach_s`` have: their mean,
their highest, or between the two the logarithm of their mean exponential.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from crywatch.audio.segments import n_segments
from crywatch.core.errors import ConfigError
from crywatch.detection.blazenet.frontend import FrontEndConfig, pictures
from crywatch.detection.blazenet.network import BlazeNet

POOLING = ("mean", "max", "soft")
BATCH = 256  # windows


@dataclass  # not frozen: OmegaConf merges into it
class ContextConfig:
    """What a second's score is made of."""

    hop_s: float
    own_reach_s: float
    reach_s: float
    own_weight: float  # 1 for the second's own windows alone
    pooling: str  # of the neighbourhood: mean, max, soft

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        if self.hop_s <= 0 or abs(1 / self.hop_s - round(1 / self.hop_s)) > 1e-9:
            raise ConfigError(f"{key}.hop_s is {self.hop_s:g}: a second must hold whole hops")
        if min(self.reach_s, self.own_reach_s) < 0 or not 0 <= self.own_weight <= 1:
            raise ConfigError(
                f"{key}: own_reach_s is {self.own_reach_s:g}, reach_s {self.reach_s:g} and "
                f"own_weight {self.own_weight:g}: set the reaches to 0 or more and the weight "
                "within 0 and 1"
            )
        if self.pooling not in POOLING:
            raise ConfigError(f"{key}.pooling is {self.pooling!r}; there are {', '.join(POOLING)}")

    @property
    def hops(self) -> int:
        """Windows that begin in a second."""
        return round(1 / self.hop_s)

    @property
    def farthest_s(self) -> float:
        """How far from a second's own window one may begin that it hears."""
        return max(self.own_reach_s, self.reach_s if self.own_weight < 1 else 0.0)

    def as_dict(self) -> dict:
        """For a model's description."""
        return asdict(self)


def windows(wave: np.ndarray, rate_hz: int, hops: int) -> torch.Tensor:
    """``wave`` [samples] to [windows, samples of a second]: ``hops`` of them begin in a second.

    As many seconds as the plain ones; the last second has one window.
    """
    count = n_segments(len(wave), rate_hz)
    padded = np.zeros(count * rate_hz, dtype=np.float32)
    padded[: len(wave)] = wave[: len(padded)]
    return torch.from_numpy(padded).unfold(0, rate_hz, rate_hz // hops)


@torch.inference_mode()
def window_logits(
    network: BlazeNet, wave: np.ndarray, front_end: FrontEndConfig, hops: int
) -> np.ndarray:
    """[samples] at the front end's rate to the logits of a cry [windows]."""
    parts = []
    for batch in windows(wave, front_end.rate_hz, hops).split(BATCH):
        logits = network(pictures(batch, front_end))
        parts.append((logits[:, 1] - logits[:, 0]).numpy())
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def pool(logits: np.ndarray, context: ContextConfig) -> np.ndarray:
    """Logits of windows to logits of plain seconds; at the ends there are fewer neighbours."""
    if not len(logits):
        return logits
    own_logits = _pool_around(logits, context.own_reach_s, context, "mean")
    if context.own_weight == 1:
        return own_logits
    near = _pool_around(logits, context.reach_s, context, context.pooling)
    return context.own_weight * own_logits + (1 - context.own_weight) * near


def _pool_around(
    logits: np.ndarray, reach_s: float, context: ContextConfig, how: str
) -> np.ndarray:
    """[plain seconds]: of the windows within ``reach_s`` of each second's own."""
    reach = round(reach_s * context.hops)
    padded = np.pad(logits.astype(np.float64), reach, constant_values=np.nan)
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)[:: context.hops]
    if how == "mean":
        return np.nanmean(near, axis=1)
    highest = np.nanmax(near, axis=1)
    if how == "max":
        return highest
    return highest + np.log(np.nanmean(np.exp(near - highest[:, None]), axis=1))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits to 0..1, float64."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
