"""The training loop: AdamW, one cycle of the rate, weights that are averaged over steps.

A plain loop, as the one on infants: its state is that of five parts, and batches are functions of
seed and step. The state is saved with every validation, and a killed training goes on to the same
weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress_bar
from crywatch.detection.blazenet.network import FEATURES, BlazeNet
from crywatch.detection.robust.batches import Batch, Batches, ahead
from crywatch.detection.robust.draws import Pools
from crywatch.detection.robust.losses import Alignment, target_loss
from crywatch.detection.robust.recipe import RecipeConfig, TrainingConfig
from crywatch.detection.robust.teaching import ClassHead
from crywatch.detection.robust.validation import Validation, Verdict

STATE_FILE = "state.ckpt"
LEAST_STEPS = 2  # the one cycle needs a rise and a fall


@dataclass(frozen=True)
class Progress:
    """What the steps since the last validation gave."""

    step: int  # steps done
    train_loss: float
    terms: float  # of alignment and the teacher's classes, weighted; 0 without any
    val: Verdict  # of the averaged weights
    lr: float  # of the last step

    def as_row(self) -> dict[str, float]:
        """A line of history.csv."""
        row = {"step": self.step, "train_loss": self.train_loss, "terms": self.terms}
        return row | {f"val_{k}": v for k, v in asdict(self.val).items()} | {"lr": self.lr}


@dataclass
class Trained:
    """The averaged network, in evaluation mode."""

    network: BlazeNet
    chosen: Progress  # whose weights these are
    history: list[Progress]


def scaled(config: TrainingConfig, scale: float) -> TrainingConfig:
    """Under a schedule of ``scale``."""
    out = copy.copy(config)
    out.steps = max(LEAST_STEPS, round(config.steps * scale))
    out.val_every = max(1, min(out.steps, round(config.val_every * scale)))
    return out


def train(
    pools: Pools,
    recipe: RecipeConfig,
    validation: Validation,
    seed: int,
    work_dir: Path,
    on_validation: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train a BlazeNet; ``work_dir`` holds the state and is the caller's to remove."""
    config = recipe.training
    batches = Batches(pools, recipe, seed, FEATURES)
    state = _State.begin(recipe, len(pools.corpora), pools.n_classes, seed)
    state.load(work_dir)
    with (
        progress_bar("train", config.steps, unit="step", done=state.step) as bar,
        closing(ahead(batches.batch, state.step, config.steps)) as coming,
    ):
        seen: list[tuple[Tensor, Tensor]] = []
        for batch in coming:
            seen.append(_step(state, batch, recipe))
            bar.update()
            if state.step % config.val_every and state.step < config.steps:
                continue
            losses, terms = (np.array([float(s[i]) for s in seen]) for i in (0, 1))
            seen.clear()
            progress = Progress(
                step=state.step,
                train_loss=float(losses.mean()),
                terms=float(terms.mean()),
                val=validation.judge(state.averaged()),
                lr=float(state.schedule.get_last_lr()[0]),
            )
            state.add(progress, config.keep)
            state.save(work_dir)
            if on_validation:
                on_validation(progress)
    network = BlazeNet().eval()
    network.load_state_dict(state.kept_weights)
    return Trained(network, state.history[state.kept], state.history)


def _step(state: _State, batch: Batch, recipe: RecipeConfig) -> tuple[Tensor, Tensor]:
    """One step; its loss on the targets and the other terms."""
    network, config = state.network, recipe.training
    features = network.features(batch.pictures)
    kept = features if batch.keep is None else features * batch.keep
    logits = network.classifier(kept)
    loss = target_loss(logits[:, 1] - logits[:, 0], batch.targets, batch.weights, config.hard_power)
    term = torch.zeros(())
    if state.alignment.needed:
        term = state.alignment(features, batch.labels, batch.corpora, state.step / config.steps)
    if recipe.teacher.classes and batch.classes is not None:
        told = state.class_head(features, batch.classes, batch.taught)
        term = term + recipe.teacher.classes * told
    total = loss + term
    if not total.isfinite():
        raise ConfigError(
            f"train_robust: the loss is not finite at step {state.step}: lower "
            f"train_robust.training.lr ({config.lr:g})"
        )
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    state.optimiser.step()
    state.schedule.step()
    state.average(config.ema)
    return loss.detach(), term.detach()


@dataclass
class _State:
    network: BlazeNet
    alignment: Alignment
    class_head: ClassHead
    optimiser: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.OneCycleLR
    ema: dict[str, Tensor]
    step: int = 0
    history: list[Progress] = field(default_factory=list)
    kept: int = -1  # of the history
    kept_weights: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, recipe: RecipeConfig, n_corpora: int, n_classes: int, seed: int) -> _State:
        config = recipe.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = BlazeNet()
            alignment = Alignment(recipe.alignment, n_corpora)
            head = ClassHead(n_classes if recipe.teacher.classes else 1)
        learnt = [*network.parameters(), *alignment.parameters()]
        learnt += list(head.parameters()) if recipe.teacher.classes else []
        optimiser = torch.optim.AdamW(
            learnt, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, config.lr, total_steps=config.steps, pct_start=config.warmup
        )
        ema = {name: value.clone() for name, value in network.state_dict().items()}
        return cls(network, alignment, head, optimiser, schedule, ema)

    @property
    def _parts(self) -> dict:
        return {
            "network": self.network,
            "alignment": self.alignment,
            "class_head": self.class_head,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }

    @torch.no_grad()
    def average(self, keep: float) -> None:
        """Take the step into the average; the first steps are forgotten soon."""
        self.step += 1
        keep = min(keep, self.step / (self.step + 9))
        now = self.network.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [now[k] for k in self.ema], 1 - keep)

    def averaged(self) -> BlazeNet:
        """A network with the averaged weights."""
        network = BlazeNet().eval()
        network.load_state_dict(self.ema)
        return network

    def add(self, progress: Progress, keep: str) -> None:
        self.history.append(progress)
        best = self.kept < 0 or progress.val.better_than(self.history[self.kept].val)
        if keep == "last" or best:
            self.kept = len(self.history) - 1
            self.kept_weights = {name: value.clone() for name, value in self.ema.items()}

    def save(self, folder: Path) -> None:
        saved = {
            "step": self.step,
            "ema": self.ema,
            "kept": self.kept,
            "kept_weights": self.kept_weights,
            "history": [asdict(progress) for progress in self.history],
        }
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        with atomic_path(folder / STATE_FILE) as temp:
            torch.save(saved | {"parts": parts}, temp)

    def load(self, folder: Path) -> None:
        """Go on from what lies in ``folder``, if anything does."""
        path = folder / STATE_FILE
        if not path.is_file():
            return
        saved = torch.load(path, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(saved["parts"][name])
        self.step, self.ema = saved["step"], saved["ema"]
        self.kept, self.kept_weights = saved["kept"], saved["kept_weights"]
        self.history = [Progress(**p | {"val": Verdict(**p["val"])}) for p in saved["history"]]
