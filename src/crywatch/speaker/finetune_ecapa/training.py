"""Training by steps on batches of several cries of several infants.

A plain loop: the state is that of three parts (network, losses, optimiser), and batches, crops and
augmentation are functions of seed and step, so that Lightning would add little. The state is saved
after every epoch, and a killed training goes on to the same weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress_bar
from crywatch.speaker.batches import Crops, InfantBatches
from crywatch.speaker.ecapa import Ecapa
from crywatch.speaker.finetune_ecapa.augmentation import Augmentation
from crywatch.speaker.finetune_ecapa.validation import Validation, Verdict
from crywatch.speaker.losses import SpeakerLoss

STATE_FILE = "state.ckpt"


@dataclass(frozen=True)
class Schedule:
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


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave."""

    epoch: int  # from 0
    train_loss: float
    terms: dict[str, float]  # of the loss, by name, unweighted
    val: Verdict
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
    augmentation: Augmentation

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Waves [N x M, samples] and the infants' numbers [N x M] of a step."""
        epoch, number = divmod(step, len(self.batches))
        rows = self.batches.batch(epoch, number)
        waves = self.augmentation.batch(self.crops.batch(rows, epoch, number), epoch, number)
        return torch.from_numpy(waves), torch.from_numpy(self.batches.labels[rows])


@dataclass
class Trained:
    """The network at its best epoch, in evaluation mode."""

    ecapa: Ecapa
    start: Verdict  # before the first step
    best: Epoch
    history: list[Epoch]


def train(
    ecapa: Ecapa,
    loss: SpeakerLoss,
    material: Material,
    validation: Validation,
    schedule: Schedule,
    work_dir: Path,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train ``ecapa`` (in place); ``work_dir`` holds the state and is the caller's to remove."""
    optimiser = _optimiser(ecapa, loss, schedule)
    peaks = [group["lr"] for group in optimiser.param_groups]
    parts = {"network": ecapa.network, "loss": loss, "optimiser": optimiser}
    state = _State.load(work_dir, parts)
    if state is None:
        state = _State(validation.judge(ecapa))
    with progress_bar("train", schedule.epochs * schedule.epoch_steps, unit="step") as bar:
        bar.update(len(state.history) * schedule.epoch_steps)
        while len(state.history) < schedule.epochs and not state.stopped(schedule):
            ecapa.train()
            seen = []
            first = len(state.history) * schedule.epoch_steps
            for step in range(first, first + schedule.epoch_steps):
                for group, peak in zip(optimiser.param_groups, peaks, strict=True):
                    group["lr"] = peak * schedule.share(step)
                waves, labels = material.batch(step)
                value = loss(ecapa(waves), labels)
                if not value.total.isfinite():
                    raise ConfigError(
                        f"finetune_ecapa: the loss is not finite at step {step}: lower "
                        f"finetune_ecapa.lr ({schedule.lr:g})"
                    )
                optimiser.zero_grad(set_to_none=True)
                value.total.backward()
                optimiser.step()
                seen.append({"total": value.total.detach(), **value.terms})
                bar.update()
            means = {name: float(np.mean([float(s[name]) for s in seen])) for name in seen[0]}
            epoch = Epoch(
                epoch=len(state.history),
                train_loss=means.pop("total"),
                terms=means,
                val=validation.judge(ecapa),
                lr=schedule.lr * schedule.share(first + schedule.epoch_steps - 1),
            )
            state.add(epoch, ecapa)
            state.save(work_dir, parts)
            if on_epoch:
                on_epoch(epoch)
    ecapa.network.load_state_dict(state.best_weights)
    return Trained(ecapa.eval(), state.start, state.best, state.history)


def _optimiser(ecapa: Ecapa, loss: SpeakerLoss, schedule: Schedule) -> torch.optim.AdamW:
    """AdamW; only matrices and filters decay: not biases, norms, nor what a loss learns."""
    own = [p for p in ecapa.network.parameters() if p.requires_grad]
    if not own:
        raise ConfigError("ecapa.frozen: no layer is left to learn: name fewer")
    flat = [p for p in own if p.ndim < 2]
    groups = [
        {"params": [p for p in own if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": flat},
        {"params": list(loss.parameters()), "lr": schedule.loss_lr},
    ]
    kept = [group for group in groups if group["params"]]
    return torch.optim.AdamW(kept, lr=schedule.lr, weight_decay=0.0)


@dataclass
class _State:
    start: Verdict
    best: Epoch | None = None
    best_weights: dict[str, Tensor] | None = None
    history: list[Epoch] = field(default_factory=list)

    def add(self, epoch: Epoch, ecapa: Ecapa) -> None:
        self.history.append(epoch)
        if self.best is None or epoch.val.better_than(self.best.val):
            self.best = epoch
            self.best_weights = copy.deepcopy(ecapa.network.state_dict())

    def stopped(self, schedule: Schedule) -> bool:
        best = -1 if self.best is None else self.best.epoch
        return len(self.history) - 1 - best >= schedule.patience_epochs

    def save(self, folder: Path, parts: dict[str, nn.Module | torch.optim.Optimizer]) -> None:
        with atomic_path(folder / STATE_FILE) as temp:
            torch.save(
                {
                    "start": asdict(self.start),
                    "best": self.best.epoch,
                    "best_weights": self.best_weights,
                    "history": [asdict(epoch) for epoch in self.history],
                    **{name: part.state_dict() for name, part in parts.items()},
                },
                temp,
            )

    @classmethod
    def load(
        cls, folder: Path, parts: dict[str, nn.Module | torch.optim.Optimizer]
    ) -> _State | None:
        path = folder / STATE_FILE
        if not path.is_file():
            return None
        saved = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        history = [Epoch(**e | {"val": Verdict(**e["val"])}) for e in saved["history"]]
        return cls(
            Verdict(**saved["start"]), history[saved["best"]], saved["best_weights"], history
        )


def scaled(count: int, scale: float) -> int:
    """Epochs under a schedule of ``scale``, at least one."""
    return max(1, math.floor(count * scale + 0.5))
