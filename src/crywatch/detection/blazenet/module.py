"""BlazeNet as a Lightning module: the paper's recipe, and the best epoch on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.detection.blazenet.data import SharedBatches
from crywatch.detection.blazenet.network import (
    FEATURES,
    BlazeNet,
    NetworkConfig,
    cry_probability,
)
from crywatch.detection.training import Best


@dataclass(frozen=True)
class BlazenetRecipe:
    """SGD with steps of the rate (section 4.2 of the paper), and what the paper leaves open."""

    lr: float
    momentum: float
    lr_step: int  # epochs
    lr_gamma: float
    dropout: float = 0.0  # of the 224 numbers
    seed: int = 0  # of what is dropped
    network: NetworkConfig = NetworkConfig()


@dataclass(frozen=True)
class BlazenetEpoch:
    """What one epoch gave."""

    epoch: int  # from 0
    train_loss: float
    val_loss: float
    val_accuracy: float  # at 0.5
    val_auc: float


class BlazeNetModule(lightning.LightningModule):
    """Cross-entropy on segments.

    Processes that share a training (DDP) each see a part of a batch; Lightning takes the mean of
    their gradients. The batches tell what a part counts.
    """

    def __init__(
        self,
        recipe: BlazenetRecipe,
        train_batches: SharedBatches | None = None,
        val_batches: SharedBatches | None = None,
    ):
        super().__init__()
        self.recipe = recipe
        self._batches = (train_batches, val_batches)
        self.network = BlazeNet(recipe.network)
        self.last_epoch: BlazenetEpoch | None = None
        self._train: list[Tensor] = []
        self._val: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch of pictures [n, bands, 64] and labels [n].

        Of a part of a batch: so that the mean over the processes is the loss of the whole.
        """
        pictures, labels = batch
        batches = self._batches[0]
        features = self.network.features(pictures)
        if self.recipe.dropout:
            features = features * self._kept(index, len(features)).to(features)
        logits = self.network.classifier(features)
        if batches is not None and batches.of > 1:
            loss = functional.cross_entropy(logits, labels, reduction="sum") * batches.share(index)
        else:
            loss = functional.cross_entropy(logits, labels)
        self._train.append(loss.detach())
        return loss

    def _kept(self, index: int, n: int) -> Tensor:
        """[n, 224]: 0 of what is dropped of batch ``index``, the rest so much larger.

        By seed, epoch and batch alone: a training that was killed drops the same again, and a part
        of a batch what the whole would.
        """
        batches = self._batches[0]
        rng = np.random.default_rng([self.recipe.seed, self.current_epoch, index])
        draws = rng.random((n if batches is None else batches.rows(index), FEATURES))
        if batches is not None:
            draws = batches.part(draws)
        share = 1 - self.recipe.dropout
        return torch.from_numpy((draws < share) / share)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Keeps logits for the end of the epoch."""
        pictures, labels = batch
        logits, batches = self.network(pictures), self._batches[1]
        n_rows = len(labels) if batches is None or batches.share(index) else 0
        self._val.append((logits[:n_rows], labels[:n_rows]))

    def on_validation_epoch_end(self) -> None:
        """Metrics over the whole validation part."""
        logits, labels = (torch.cat(parts).cpu() for parts in zip(*self._val, strict=True))
        train_loss = torch.stack(self._train).mean().item() if self._train else float("nan")
        if self._batches[1] is not None and self._batches[1].of > 1:
            logits, labels, train_loss = _of_all(logits, labels, train_loss)
        self._train.clear()
        self._val.clear()
        if not torch.isfinite(logits).all():
            raise ConfigError(
                f"train_blazenet: the network's outputs are not finite after epoch "
                f"{self.current_epoch}: lower the recipe's lr ({self.recipe.lr:g}) in "
                "train_blazenet.recipes"
            )
        scores = cry_probability(logits)
        self.last_epoch = BlazenetEpoch(
            epoch=self.current_epoch,
            train_loss=train_loss,
            val_loss=functional.cross_entropy(logits, labels).item(),
            val_accuracy=((scores >= 0.5) == labels.bool()).float().mean().item(),
            val_auc=_auc(labels.numpy(), scores.numpy()),
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """SGD, its rate divided at every step of the schedule."""
        recipe = self.recipe
        optimiser = torch.optim.SGD(
            self.parameters(), lr=recipe.lr, momentum=recipe.momentum, fused=True
        )
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, recipe.lr_step, recipe.lr_gamma)
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def _of_all(logits: Tensor, labels: Tensor, train_loss: float) -> tuple[Tensor, Tensor, float]:
    """The same of all processes: what each validated, and the mean of their losses."""
    from torch import distributed

    parts: list = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, (logits, labels, train_loss))
    all_logits, all_labels, losses = zip(*parts, strict=True)
    return torch.cat(all_logits), torch.cat(all_labels), float(np.mean(losses))


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if labels.min() == labels.max():
        return float("nan")
    return float(roc_auc_score(labels, scores))


BETTER: dict[str, Callable[[BlazenetEpoch, BlazenetEpoch], bool]] = {  # new, best
    "loss": lambda new, best: new.val_loss < best.val_loss,
    "accuracy": lambda new, best: new.val_accuracy >= best.val_accuracy,  # the last of equal ones
}


class KeepBest(lightning.Callback):
    """Keeps the weights of the epoch that is best on the validation part, and the history."""

    def __init__(
        self, on_epoch: Callable[[BlazenetEpoch], None] | None = None, best_by: str = "loss"
    ):
        self.on_epoch = on_epoch
        self.best: Best[BlazenetEpoch] = Best(BETTER[best_by], BlazenetEpoch)

    def on_validation_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        """Not at the epoch's end: callbacks come before the module there, which has its metrics
        only then."""
        assert isinstance(module, BlazeNetModule)
        epoch = module.last_epoch
        if trainer.sanity_checking or epoch is None:
            return
        self.best.add(epoch, module.network.state_dict())
        if self.on_epoch is not None:
            self.on_epoch(epoch)

    def state_dict(self) -> dict:
        """Goes into Lightning's checkpoint."""
        return self.best.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Comes from Lightning's checkpoint."""
        self.best.load_state_dict(state)
