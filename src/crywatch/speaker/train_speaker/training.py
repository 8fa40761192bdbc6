"""Training by steps on batches of several cries of several infants.

Batches, crops and augmentation are functions of seed and step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crywatch.core.errors import ConfigError
from crywatch.detection import training
from crywatch.detection.training import Training, fit, require_finite
from crywatch.speaker.batches import Crops, InfantBatches
from crywatch.speaker.ecapa import Ecapa
from crywatch.speaker.losses import SpeakerLoss
from crywatch.speaker.train_speaker.augmentation import CropAugmentation
from crywatch.speaker.train_speaker.validation import InfantValidation, InfantVerdict


@dataclass(frozen=True)
class EcapaSchedule:
    """How long and how fast."""

    epochs: int
    epoch_steps: int
    patience_epochs: int
    lr: float  # the highest
    loss_lr: float
    warmup: float
    weight_decay: float

    def share(self, step: int) -> float:
        """Of the highest rate: it rises evenly to 1, then falls evenly to 0."""
        steps = self.epochs * self.epoch_steps
        rise = self.warmup * steps
        return min((step + 1) / (rise + 1), (steps - step) / (steps - rise))

    def in_steps(self) -> training.TrainingLength:
        """An evaluation after every epoch."""
        each = self.epoch_steps
        return training.TrainingLength(self.epochs * each, each, self.patience_epochs * each)


@dataclass(frozen=True)
class EcapaEpoch:
    """What one epoch gave."""

    epoch: int  # from 0
    train_loss: float
    terms: dict[str, float]  # of the loss, by name, unweighted
    val: InfantVerdict
    lr: float  # of the last step

    def as_row(self) -> dict[str, float | None]:
        """A line of history.csv."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            **{f"train_{name}": value for name, value in self.terms.items()},
            "val_eer": self.val.eer,
            "val_eer_within": self.val.eer_within,
            "val_loss": self.val.loss,
            "lr": self.lr,
        }


@dataclass(frozen=True)
class Material:
    """What is drawn from."""

    batches: InfantBatches
    crops: Crops
    augmentation: CropAugmentation

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Waves [N x M, samples] and the infants' numbers [N x M] of a step."""
        epoch, number = divmod(step, len(self.batches))
        rows = self.batches.batch(epoch, number)
        waves = self.augmentation.batch(self.crops.batch(rows, epoch, number), epoch, number)
        return torch.from_numpy(waves), torch.from_numpy(self.batches.labels[rows])


@dataclass(frozen=True)
class TrainedEcapa:
    """The network at its best epoch, in evaluation mode."""

    ecapa: Ecapa
    start: InfantVerdict  # before the first step
    best: EcapaEpoch
    history: list[EcapaEpoch]


class EcapaTraining(Training[tuple[Tensor, Tensor], EcapaEpoch]):
    """AdamW on the losses of batches of several cries of several infants."""

    def __init__(
        self,
        ecapa: Ecapa,
        loss: SpeakerLoss,
        material: Material,
        validation: InfantValidation,
        schedule: EcapaSchedule,
    ):
        self.ecapa, self.loss, self.schedule = ecapa, loss, schedule
        self._material, self._validation = material, validation
        self.optimiser = _optimiser(ecapa, loss, schedule)
        self._highest = [group["lr"] for group in self.optimiser.param_groups]
        self.parts = {"network": ecapa.network, "loss": loss, "optimiser": self.optimiser}

    def batches(self, first: int, last: int) -> Generator[tuple[Tensor, Tensor], None, None]:
        for step in range(first, last):
            yield self._material.batch(step)

    def step(self, batch: tuple[Tensor, Tensor], number: int) -> dict[str, Tensor]:
        """The ``total`` loss, and its terms by name."""
        for group, lr in zip(self.optimiser.param_groups, self._highest, strict=True):
            group["lr"] = lr * self.schedule.share(number)
        self.ecapa.train()
        waves, labels = batch
        value = self.loss(self.ecapa(waves), labels)
        rate, lr = "train_speaker.lr", self.schedule.lr
        require_finite(value.total, "train_speaker: the loss is", number, rate, lr)
        self.optimiser.zero_grad(set_to_none=True)
        value.total.backward()
        self.optimiser.step()
        return {"total": value.total.detach(), **value.terms}

    def evaluate(self, steps: int, losses: dict[str, float]) -> EcapaEpoch:
        return EcapaEpoch(
            epoch=steps // self.schedule.epoch_steps - 1,
            train_loss=losses.pop("total"),
            terms=losses,
            val=self._validation.judge(self.ecapa),
            lr=self.schedule.lr * self.schedule.share(steps - 1),
        )

    def weights(self) -> dict[str, Tensor]:
        return self.ecapa.network.state_dict()

    def better(self, new: EcapaEpoch, best: EcapaEpoch) -> bool:
        return new.val.better_than(best.val)

    def restore(self, **fields: Any) -> EcapaEpoch:
        return EcapaEpoch(**fields | {"val": InfantVerdict(**fields["val"])})


def train(
    ecapa: Ecapa,
    loss: SpeakerLoss,
    material: Material,
    validation: InfantValidation,
    schedule: EcapaSchedule,
    work_dir: Path,
    on_epoch: Callable[[EcapaEpoch], None] | None = None,
) -> TrainedEcapa:
    """Train ``ecapa`` (in place); ``work_dir`` holds the state and is the caller's to remove."""
    ecapa_training = EcapaTraining(ecapa, loss, material, validation, schedule)
    start = validation.judge(ecapa)
    best = fit(ecapa_training, schedule.in_steps(), work_dir, on_epoch)
    ecapa.network.load_state_dict(best.weights)
    return TrainedEcapa(ecapa.eval(), start, best.evaluation, best.history)


def _optimiser(ecapa: Ecapa, loss: SpeakerLoss, schedule: EcapaSchedule) -> torch.optim.AdamW:
    """AdamW; only matrices and filters decay: not biases, norms, nor what a loss learns."""
    trainable = [p for p in ecapa.network.parameters() if p.requires_grad]
    if not trainable:
        raise ConfigError("ecapa.frozen: no layer is left to learn: name fewer")
    flat = [p for p in trainable if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": flat},
        {"params": list(loss.parameters()), "lr": schedule.loss_lr},
    ]
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, lr=schedule.lr, weight_decay=0.0)


def scale_epochs(count: int, scale: float) -> int:
    """Epochs under a schedule of ``scale``, at least one."""
    return max(1, math.floor(count * scale + 0.5))
