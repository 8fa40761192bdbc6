"""Clips that a network was not trained on: their seconds' scores, clean and through a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.core.errors import TableError
from crywatch.data.truth import Truth, silent_seconds
from crywatch.detection.blazenet.frontend import FrontEndConfig
from crywatch.detection.blazenet.network import BlazeNet
from crywatch.detection.robust.context import ContextConfig, pool, probabilities, window_logits
from crywatch.detection.robust.detector import hearing
from crywatch.detection.robust.sounds import CLEAN, Sounds


@dataclass(frozen=True)
class RobustVerdict:
    """Per second, on all corpora; silent seconds left out. ``channel_`` through the channel."""

    loss: float  # cross-entropy
    auc: float
    average_precision: float
    channel_auc: float
    channel_average_precision: float

    def better_than(self, other: RobustVerdict) -> bool:
        """By the mean of both average precisions."""
        ours, theirs = (v.average_precision + v.channel_average_precision for v in (self, other))
        return ours > theirs


def score_clips(
    network: BlazeNet,
    sounds: Sounds,
    clip_ids: Sequence[str],
    copy: str,
    front_end: FrontEndConfig,
    context: ContextConfig,
) -> dict[str, np.ndarray]:
    """Logits of the plain seconds of each clip."""
    hear, rate_hz = hearing(network, front_end), front_end.rate_hz
    return {
        clip_id: pool(
            window_logits(hear, sounds.wave(clip_id, copy), rate_hz, context.hops), context
        )
        for clip_id in clip_ids
    }


def silent(sounds: Sounds, clip_id: str) -> np.ndarray:
    """[plain seconds] bool of a clean clip."""
    # Each sample twice: the levels of 8 kHz as those of 16 kHz, which the function takes.
    return silent_seconds(np.repeat(sounds.wave(clip_id), 2))


class RobustValidation:
    """The seconds of ``clips`` (canonical, labelled) and what is known of them.

    Raises
    ------
    TableError
        A class is missing.
    """

    def __init__(
        self,
        clips: pd.DataFrame,
        events: pd.DataFrame,
        sounds: Sounds,
        front_end: FrontEndConfig,
        context: ContextConfig,
        channel: str,
    ):
        self._sounds, self._front_end, self._context = sounds, front_end, context
        self._copies = (CLEAN, channel)
        self.clip_ids = clips["clip_id"].tolist()
        truth = Truth(clips, events)
        audible = {clip_id: ~silent(sounds, clip_id) for clip_id in self.clip_ids}
        labels = [truth.segments(c, len(audible[c]))[audible[c]] for c in self.clip_ids]
        self._heard = np.concatenate([[], *audible.values()]).astype(bool)
        self._labels = np.concatenate([[], *labels]).astype(bool)
        if len(np.unique(self._labels)) < 2:
            raise TableError("train_robust: the val part lacks cries or other sounds")

    def judge(self, network: BlazeNet) -> RobustVerdict:
        """Scores all seconds twice."""
        from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

        routes = []
        for copy in self._copies:
            scores = score_clips(
                network, self._sounds, self.clip_ids, copy, self._front_end, self._context
            )
            routes.append(probabilities(np.concatenate(list(scores.values()))[self._heard]))
        clean, through = routes
        return RobustVerdict(
            loss=float(log_loss(self._labels, clean, labels=[False, True])),
            auc=float(roc_auc_score(self._labels, clean)),
            average_precision=float(average_precision_score(self._labels, clean)),
            channel_auc=float(roc_auc_score(self._labels, through)),
            channel_average_precision=float(average_precision_score(self._labels, through)),
        )
