"""What a teacher adds: softer targets, all of its classes, doubts, and clips without a label.

The teacher is YAMNet (https://github.com/tensorflow/models/tree/master/research/audioset/yamnet),
3.7 M parameters trained on AudioSet; its score of a cry is the higher one of `Crying, sobbing` and
`Baby cry, infant cry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.data.features import FeatureStore
from crywatch.detection.blazenet.network import FEATURES
from crywatch.detection.embedders.yamnet import CRY_CLASSES
from crywatch.detection.robust.spans import check_share

LEAST, MOST = 0.02, 0.98  # of a teacher's score as a target
RARE = -5.0  # first bias of the head: most classes are not there
HEAD_STD = 0.02


@dataclass  # not frozen: OmegaConf merges into it
class TeacherConfig:
    """How much a teacher is listened to; 0 everywhere for none."""

    weight: float  # of its cry score against the label
    power: float  # its scores are low: to this power they are targets
    classes: float  # weight of a head that learns all of its scores, dropped at inference
    doubt: float  # a second of a crying clip with a lower cry score weighs less
    doubt_weight: float  # but not less than this
    unlabelled: bool  # whether clips without a label are heard where the teacher is sure
    sure_cry: float  # median over a clip from which it is a cry
    sure_other: float  # highest score of a clip up to which it is another sound

    @property
    def needed(self) -> bool:
        """Whether the recipe needs a teacher."""
        return bool(self.weight or self.classes or self.doubt or self.unlabelled)

    def without(self) -> TeacherConfig:
        """The same training by labels alone."""
        return replace(self, weight=0.0, classes=0.0, doubt=0.0, unlabelled=False)

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        for name in ("weight", "doubt", "doubt_weight", "sure_cry", "sure_other"):
            check_share(f"{key}.{name}", getattr(self, name))
        if self.power <= 0 or self.classes < 0:
            raise ConfigError(
                f"{key}: power is {self.power:g} and classes {self.classes:g}: set the power above "
                "0 and the weight to 0 or more"
            )


def cry_scores(classes: np.ndarray) -> np.ndarray:
    """[n, classes] to [n]."""
    return classes[:, list(CRY_CLASSES)].max(axis=1)


def soften_targets(
    targets: np.ndarray, classes: np.ndarray, known: np.ndarray, config: TeacherConfig
) -> np.ndarray:
    """[n] targets, moved towards the teacher's where it is ``known`` [n] what it says."""
    soft_targets = np.clip(cry_scores(classes), LEAST, MOST) ** config.power
    mixed = (1 - config.weight) * targets + config.weight * soft_targets
    return np.where(known, mixed, targets).astype(np.float32)


def doubt_weights(
    labels: np.ndarray, classes: np.ndarray, known: np.ndarray, config: TeacherConfig
) -> np.ndarray:
    """[n] weights: cries that the teacher does not hear count less."""
    certainty = np.clip(cry_scores(classes) / config.doubt, config.doubt_weight, 1.0)
    return np.where(labels & known, certainty, 1.0).astype(np.float32)


def add_unlabelled(
    clips: pd.DataFrame, unlabelled: pd.DataFrame, teacher: FeatureStore, config: TeacherConfig
) -> pd.DataFrame:
    """``clips`` and those of ``unlabelled`` that the teacher is sure of, with its label.

    Of a weak cry it only says whether the cry fills it.
    """
    labels = []
    for clip_id, label in zip(unlabelled["clip_id"], unlabelled["label"], strict=True):
        scores = cry_scores(teacher.clip(clip_id).astype(np.float32))
        if scores.max() <= config.sure_other:
            labels.append("" if label == "cry" else "other")
        else:
            labels.append("cry" if np.median(scores) >= config.sure_cry else "")
    sure = unlabelled.assign(label=labels, weak=False)
    return pd.concat([clips, sure[sure["label"] != ""]], ignore_index=True)


class ClassHead(nn.Module):
    """A layer from the features to the teacher's classes; it stays behind after the training."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.layer = nn.Linear(FEATURES, n_classes)
        nn.init.normal_(self.layer.weight, std=HEAD_STD)
        nn.init.constant_(self.layer.bias, RARE)

    def forward(self, features: Tensor, classes: Tensor, known: Tensor) -> Tensor:
        """Cross-entropy of rows ``known`` [n], summed over the classes."""
        if not known.any():
            return features.sum() * 0
        logits = self.layer(features[known])
        losses = functional.binary_cross_entropy_with_logits(
            logits, classes[known], reduction="none"
        )
        return losses.sum(dim=1).mean()
