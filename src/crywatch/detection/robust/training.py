"""The robust training: AdamW, one cycle of the rate, weights that are averaged over steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crywatch.detection.blazenet.network import FEATURES, BlazeNet
from crywatch.detection.robust.batches import Batch, Batches, make_ahead
from crywatch.detection.robust.draws import Pools
from crywatch.detection.robust.losses import Alignment, target_loss
from crywatch.detection.robust.recipe import RecipeConfig, RobustTrainingConfig
from crywatch.detection.robust.teaching import ClassHead
from crywatch.detection.robust.validation import RobustValidation, RobustVerdict
from crywatch.detection.training import Training, TrainingLength, fit, require_finite

LEAST_STEPS = 2  # the one cycle needs a rise and a fall


@dataclass(frozen=True)
class Progress:
    """What the steps since the last validation gave."""

    step: int  # steps done
    train_loss: float
    terms: float  # of alignment and the teacher's classes, weighted; 0 without any
    val: RobustVerdict  # of the averaged weights
    lr: float  # of the last step

    def as_row(self) -> dict[str, float]:
        """A line of history.csv."""
        row = {"step": self.step, "train_loss": self.train_loss, "terms": self.terms}
        return row | {f"val_{k}": v for k, v in asdict(self.val).items()} | {"lr": self.lr}


@dataclass
class TrainedRobust:
    """The averaged network, in evaluation mode."""

    network: BlazeNet
    chosen: Progress  # whose weights these are
    history: list[Progress]


def scale_schedule(config: RobustTrainingConfig, scale: float) -> RobustTrainingConfig:
    """Under a schedule of ``scale``."""
    out = copy.copy(config)
    out.steps = max(LEAST_STEPS, round(config.steps * scale))
    out.val_every = max(1, min(out.steps, round(config.val_every * scale)))
    return out


class RobustTraining(Training[Batch, Progress]):
    """AdamW and one cycle of the rate; what is evaluated and kept is the average of the weights."""

    def __init__(self, pools: Pools, recipe: RecipeConfig, validation: RobustValidation, seed: int):
        config = recipe.training
        self._recipe, self._validation = recipe, validation
        self._batches = Batches(pools, recipe, seed, FEATURES)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = BlazeNet()
            self.alignment = Alignment(recipe.alignment, len(pools.corpora))
            self.class_head = ClassHead(pools.n_classes if recipe.teacher.classes else 1)
        learnt = [*self.network.parameters(), *self.alignment.parameters()]
        learnt += list(self.class_head.parameters()) if recipe.teacher.classes else []
        self.optimiser = torch.optim.AdamW(
            learnt, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.rates = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.lr, total_steps=config.steps, pct_start=config.warmup
        )
        self.average = Average(self.network)
        self.parts = {
            "network": self.network,
            "alignment": self.alignment,
            "class_head": self.class_head,
            "optimiser": self.optimiser,
            "rates": self.rates,
            "average": self.average,
        }

    def batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        return make_ahead(self._batches.batch, first, last)

    def step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        """The loss on the targets, and ``terms``: of alignment and the teacher's classes."""
        recipe, config = self._recipe, self._recipe.training
        features = self.network.features(batch.pictures)
        dropped_out = features if batch.keep is None else features * batch.keep
        logits = self.network.classifier(dropped_out)
        margins = logits[:, 1] - logits[:, 0]
        loss = target_loss(margins, batch.targets, batch.weights, config.hard_power)
        terms = torch.zeros(())
        if self.alignment.needed:
            terms = self.alignment(features, batch.labels, batch.corpora, number / config.steps)
        if recipe.teacher.classes and batch.classes is not None:
            class_loss = self.class_head(features, batch.classes, batch.taught)
            terms = terms + recipe.teacher.classes * class_loss
        total = loss + terms
        rate = "train_robust.training.lr"
        require_finite(total, "train_robust: the loss is", number, rate, config.lr)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm)
        self.optimiser.step()
        self.rates.step()
        self.average.add(self.network, min(config.ema, (number + 1) / (number + 10)))
        return {"loss": loss.detach(), "terms": terms.detach()}

    def evaluate(self, steps: int, losses: dict[str, float]) -> Progress:
        return Progress(
            step=steps,
            train_loss=losses["loss"],
            terms=losses["terms"],
            val=self._validation.judge(network_of(self.average.weights)),
            lr=float(self.rates.get_last_lr()[0]),
        )

    def weights(self) -> dict[str, Tensor]:
        return self.average.weights

    def better(self, new: Progress, best: Progress) -> bool:
        return self._recipe.training.keep == "last" or new.val.better_than(best.val)

    def restore(self, **fields: Any) -> Progress:
        return Progress(**fields | {"val": RobustVerdict(**fields["val"])})


class Average:
    """The exponential moving average of a network's weights."""

    def __init__(self, network: nn.Module):
        self.weights = {name: value.clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def add(self, network: nn.Module, share: float) -> None:
        """Take the weights in; what was there keeps ``share``."""
        now = network.state_dict()
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [now[name] for name in self.weights], 1 - share)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by name."""
        return self.weights

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.weights = state_dict


def network_of(weights: Mapping[str, Tensor]) -> BlazeNet:
    """A BlazeNet with those ``weights``, in evaluation mode."""
    network = BlazeNet().eval()
    network.load_state_dict(weights)
    return network


def train(
    pools: Pools,
    recipe: RecipeConfig,
    validation: RobustValidation,
    seed: int,
    work_dir: Path,
    on_validation: Callable[[Progress], None] | None = None,
) -> TrainedRobust:
    """Train a BlazeNet; ``work_dir`` holds the state and is the caller's to remove."""
    training = RobustTraining(pools, recipe, validation, seed)
    schedule = TrainingLength(recipe.training.steps, recipe.training.val_every)
    best = fit(training, schedule, work_dir, on_validation)
    return TrainedRobust(network_of(best.weights), best.evaluation, best.history)
