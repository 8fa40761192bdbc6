"""Training by steps on pairs of bags, shared by ``train_miner`` and ``train_rtfm``.

Two independent orders, abnormal and normal, each half of a batch. The state is saved at every
validation; data order and dropout are functions of seed and step, so a killed training goes on to
the same weights. The step with the best validation is kept: bag AUC, then cross-entropy.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError
from crywatch.core.progress import progress_bar
from crywatch.detection.anomaly.bags import Bags
from crywatch.detection.anomaly.losses import BagLoss, LossConfig, build
from crywatch.detection.anomaly.network import RtfmNetwork

STATE_FILE = "state.ckpt"


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; steps are those of the full schedule."""

    loss: LossConfig
    top_k: int
    lr: float
    weight_decay: float
    steps: int
    batch_size: int  # half abnormal, half normal bags
    val_every: int  # steps
    patience_steps: int
    dropout: float

    def scaled(self, steps: int, scale: float) -> int:
        """``steps`` under a schedule of ``scale``."""
        return max(1, round(steps * scale))


@dataclass
class Evaluation:
    """One validation."""

    step: int
    train_loss: float
    val_auc: float
    val_loss: float  # cross-entropy of the bag scores

    def better_than(self, other: Evaluation | None) -> bool:
        """Higher AUC; at equal AUC, lower loss."""
        return other is None or (self.val_auc, -self.val_loss) > (other.val_auc, -other.val_loss)


@dataclass
class Trained:
    """The network at its best validation."""

    network: RtfmNetwork
    best: Evaluation
    history: list[Evaluation] = field(default_factory=list)


class EndlessOrder:
    """Row numbers of batch after batch: one permutation after another, by seed and position."""

    def __init__(self, n: int, size: int, seed: int, stream: int):
        self.n, self.size, self.seed, self.stream = n, size, seed, stream
        self._epoch, self._order = -1, np.empty(0, dtype=int)

    def batch(self, step: int) -> Tensor:
        """[size] row numbers of step ``step``."""
        positions = np.arange(step * self.size, (step + 1) * self.size)
        rows = np.empty(self.size, dtype=int)
        for epoch in range(positions[0] // self.n, positions[-1] // self.n + 1):
            if epoch != self._epoch:
                rng = np.random.default_rng([self.seed, self.stream, epoch])
                self._epoch, self._order = epoch, rng.permutation(self.n)
            inside = positions // self.n == epoch
            rows[inside] = self._order[positions[inside] % self.n]
        return torch.from_numpy(rows)


def train(
    train_bags: Bags,
    val_bags: Bags,
    config: TrainingConfig,
    scale: float,
    seed: int,
    work_dir: Path,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> Trained:
    """Train a network on ``train_bags``; ``work_dir`` holds the state until it is done."""
    torch.manual_seed(seed)
    network = RtfmNetwork(train_bags.dim, config.dropout)
    both = torch.cat([train_bags.abnormal, train_bags.normal]).reshape(-1, train_bags.dim)
    network.standardise_by(both)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay, foreach=True
    )
    loss = build(config.loss, config.top_k, train_bags.dim)
    steps = config.scaled(config.steps, scale)
    val_every = min(config.scaled(config.val_every, scale), steps)
    patience = config.scaled(config.patience_steps, scale)
    half = max(1, config.batch_size // 2)
    orders = (
        EndlessOrder(len(train_bags.abnormal), half, seed, 0),
        EndlessOrder(len(train_bags.normal), half, seed, 1),
    )
    state = _State.load(work_dir, network, optimiser) or _State()
    with progress_bar("train", steps, unit="step") as bar:
        bar.update(state.step)
        running = []
        while state.step < steps and not state.stopped:
            torch.manual_seed(hash((seed, state.step)) & 0x7FFFFFFF)
            network.train()
            rows = [order.batch(state.step) for order in orders]
            abnormal, normal = _paired(network, train_bags, rows)
            if not all(side.scores.isfinite().all() for side in (abnormal, normal)):
                raise ConfigError(
                    f"training: scores are not finite at step {state.step}: lower lr "
                    f"({config.lr:g}) if the features are sound"
                )
            value = loss(abnormal, normal)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            running.append(float(value.detach()))
            state.step += 1
            bar.update()
            if state.step % val_every == 0 or state.step == steps:
                found = evaluate(network, val_bags, loss)
                evaluation = Evaluation(state.step, float(np.mean(running)), *found)
                running = []
                state.history.append(evaluation)
                if evaluation.better_than(state.best):
                    state.best = evaluation
                    state.best_weights = copy.deepcopy(network.state_dict())
                state.stopped = state.step - state.best.step >= patience
                state.save(work_dir, network, optimiser)
                if on_evaluation:
                    on_evaluation(evaluation)
    network.load_state_dict(state.best_weights)
    network.eval()
    shutil.rmtree(work_dir, ignore_errors=True)
    return Trained(network, state.best, state.history)


def _paired(network: RtfmNetwork, bags: Bags, rows: list[Tensor]):
    """One pass over both halves, so that batch norm sees them together; then apart again."""
    from crywatch.detection.anomaly.network import RtfmOutput

    output = network(torch.cat([bags.abnormal[rows[0]], bags.normal[rows[1]]]))
    cut = len(rows[0])
    return (
        RtfmOutput(output.features[:cut], output.scores[:cut]),
        RtfmOutput(output.features[cut:], output.scores[cut:]),
    )


@torch.no_grad()
def evaluate(network: RtfmNetwork, bags: Bags, loss: BagLoss) -> tuple[float, float]:
    """AUC and cross-entropy of the scores that ``loss`` gives to bags."""
    from sklearn.metrics import log_loss, roc_auc_score

    network.eval()
    sides = [
        torch.cat([loss.bag_scores(network(chunk)) for chunk in side.split(256)]).numpy()
        for side in (bags.abnormal, bags.normal)
    ]
    labels = np.concatenate([np.ones(len(sides[0])), np.zeros(len(sides[1]))])
    scores = np.clip(np.concatenate(sides).astype(float), 1e-6, 1 - 1e-6)
    return float(roc_auc_score(labels, scores)), float(log_loss(labels, scores))


@dataclass
class _State:
    step: int = 0
    stopped: bool = False
    best: Evaluation | None = None
    best_weights: dict[str, Tensor] | None = None
    history: list[Evaluation] = field(default_factory=list)

    def save(self, folder: Path, network: RtfmNetwork, optimiser: torch.optim.Optimizer) -> None:
        with atomic_path(folder / STATE_FILE) as temp:
            torch.save(
                {
                    "step": self.step,
                    "stopped": self.stopped,
                    "best": vars(self.best),
                    "best_weights": self.best_weights,
                    "history": [vars(evaluation) for evaluation in self.history],
                    "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                },
                temp,
            )

    @classmethod
    def load(
        cls, folder: Path, network: RtfmNetwork, optimiser: torch.optim.Optimizer
    ) -> _State | None:
        path = folder / STATE_FILE
        if not path.is_file():
            return None
        saved = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        return cls(
            saved["step"],
            saved["stopped"],
            Evaluation(**saved["best"]),
            saved["best_weights"],
            [Evaluation(**evaluation) for evaluation in saved["history"]],
        )
