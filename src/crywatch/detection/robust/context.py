"""Scores of a recording's windows, and how a second listens to its neighbourhood.

A window of one second begins every ``hop_s``. The logit of a second is the mean of the windows
within ``own_reach_s`` of its own, weighed against what those from ``before_s`` before to
``after_s`` after it have: their mean, their highest, or between the two the logarithm of their mean
exponential. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from crywatch.audio.segments import n_segments
from crywatch.core.errors import ConfigError

POOLING = ("mean", "max", "soft")
BATCH = 256  # windows
SILENT_DBFS = -80.0  # rms of a window in which there is nothing to hear
SILENT_LOGIT = -10.0  # of a window in silence: no cry, whatever is heard beside it
Hearing = Callable[[np.ndarray], np.ndarray]  # [n, samples of a second] to logits of a cry [n]


@dataclass  # not frozen: OmegaConf merges into it
class ContextConfig:
    """What a second's score is made of."""

    hop_s: float
    own_reach_s: float
    before_s: float
    after_s: float
    own_weight: float  # 1 for the second's own windows alone
    pooling: str  # of the neighbourhood: mean, max, soft

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        if self.hop_s <= 0 or abs(1 / self.hop_s - round(1 / self.hop_s)) > 1e-9:
            raise ConfigError(f"{key}.hop_s is {self.hop_s:g}: a second must hold whole hops")
        least_s = min(self.own_reach_s, self.before_s, self.after_s)
        if least_s < 0 or not 0 <= self.own_weight <= 1:
            raise ConfigError(
                f"{key}: own_reach_s is {self.own_reach_s:g}, before_s {self.before_s:g}, after_s "
                f"{self.after_s:g} and own_weight {self.own_weight:g}: set the reaches to 0 or "
                "more and the weight within 0 and 1"
            )
        if self.pooling not in POOLING:
            raise ConfigError(f"{key}.pooling is {self.pooling!r}; there are {', '.join(POOLING)}")

    @property
    def hops(self) -> int:
        """Windows that begin in a second."""
        return round(1 / self.hop_s)

    @property
    def lookahead_s(self) -> float:
        """How long after a second's own window one may begin that it hears."""
        return max(self.own_reach_s, self.after_s if self.own_weight < 1 else 0.0)

    @property
    def farthest_s(self) -> float:
        """The same to both sides."""
        return max(self.lookahead_s, self.before_s if self.own_weight < 1 else 0.0)

    def as_dict(self) -> dict:
        """For a model's description."""
        return asdict(self)


def windows(wave: np.ndarray, rate_hz: int, hops: int) -> np.ndarray:
    """``wave`` [samples] to [windows, samples of a second]: ``hops`` of them begin in a second.

    As many seconds as the plain ones; the last second has one window. They are views of one copy.
    """
    count = n_segments(len(wave), rate_hz)
    padded = np.zeros(count * rate_hz, dtype=np.float32)
    padded[: len(wave)] = wave[: len(padded)]
    if not count:
        return padded.reshape(0, rate_hz)
    return np.lib.stride_tricks.sliding_window_view(padded, rate_hz)[:: rate_hz // hops]


def window_logits(hear: Hearing, wave: np.ndarray, rate_hz: int, hops: int) -> np.ndarray:
    """[samples] to the logits of a cry [windows], as `hear_audible`."""
    return hear_audible(hear, windows(wave, rate_hz, hops))


def hear_audible(hear: Hearing, cut: np.ndarray) -> np.ndarray:
    """Windows [n, samples of a second] to the logits of a cry [n].

    A window below ``SILENT_DBFS`` has ``SILENT_LOGIT``, and the network does not hear it.
    """
    logits = np.full(len(cut), SILENT_LOGIT, dtype=np.float32)
    for start in range(0, len(cut), BATCH):
        batch = cut[start : start + BATCH]
        heard = np.sqrt(np.square(batch).mean(axis=1)) >= 10 ** (SILENT_DBFS / 20)
        if heard.any():
            logits[start : start + BATCH][heard] = hear(batch[heard])
    return logits


def pool(logits: np.ndarray, context: ContextConfig) -> np.ndarray:
    """Logits of windows to logits of plain seconds; at the ends there are fewer neighbours."""
    if not len(logits):
        return logits
    own_s = context.own_reach_s
    own_logits = _pool_around(logits, own_s, own_s, context, "mean")
    if context.own_weight == 1:
        return own_logits
    near = _pool_around(logits, context.before_s, context.after_s, context, context.pooling)
    return context.own_weight * own_logits + (1 - context.own_weight) * near


def _pool_around(
    logits: np.ndarray, before_s: float, after_s: float, context: ContextConfig, how: str
) -> np.ndarray:
    """[plain seconds]: of the windows from ``before_s`` to ``after_s`` around each second's own."""
    reach = round(before_s * context.hops), round(after_s * context.hops)
    padded = np.pad(logits.astype(np.float64), reach, constant_values=np.nan)
    near = np.lib.stride_tricks.sliding_window_view(padded, sum(reach) + 1)[:: context.hops]
    if how == "mean":
        return np.nanmean(near, axis=1)
    highest = np.nanmax(near, axis=1)
    if how == "max":
        return highest
    return highest + np.log(np.nanmean(np.exp(near - highest[:, None]), axis=1))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Logits to 0..1, float64."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
