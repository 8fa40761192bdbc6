"""Training by steps on pairs of bags, shared by stages ``mine`` and ``train_rtfm``.

Two independent orders, abnormal and normal, as many of each in a batch. Data order and dropout are
functions of seed and step. The step with the best validation is kept: bag AUC, then cross-entropy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import ConfigError
from crywatch.core.models import ModelFolder
from crywatch.core.threads import torch_threads
from crywatch.data.features import FeatureStore
from crywatch.data.selection import labelled
from crywatch.data.sources import corpora_of
from crywatch.detection.anomaly.bags import Bags, collect
from crywatch.detection.anomaly.losses import BagLoss, BagLossConfig, build
from crywatch.detection.anomaly.network import RtfmNetwork, RtfmOutput
from crywatch.detection.training import Training, TrainingLength, fit, require_finite

UNTRIMMED = "untrimmed"  # the data set whose bags may be weak cries


@dataclass(frozen=True)
class BagTrainingConfig:
    """How a network is trained; steps are those of the full schedule."""

    loss: BagLossConfig
    top_k: int
    lr: float
    weight_decay: float
    steps: int
    batch_size: int  # bags of each kind, abnormal and normal
    val_every: int  # steps
    patience_steps: int
    dropout: float
    threads: int  # that torch trains with; another number gives other last digits
    temporal: str  # msnl, fc: what refines the features

    def scaled(self, steps: int, scale: float) -> int:
        """``steps`` under a schedule of ``scale``."""
        return max(1, round(steps * scale))


@dataclass(frozen=True)
class BagEvaluation:
    """One validation."""

    step: int
    train_loss: float
    val_auc: float
    val_loss: float  # cross-entropy of the bag scores

    def better_than(self, other: BagEvaluation) -> bool:
        """Higher AUC; at equal AUC, lower loss."""
        return (self.val_auc, -self.val_loss) > (other.val_auc, -other.val_loss)


@dataclass(frozen=True)
class TrainedHead:
    """The network at its best validation."""

    network: RtfmNetwork
    best: BagEvaluation
    history: list[BagEvaluation]

    def model(self, description: dict, backbone: dict[str, Tensor] | None = None) -> ModelFolder:
        """With the weights of the ``backbone`` it sits on, if any."""
        head = {f"head.{name}": value for name, value in self.network.state_dict().items()}
        return ModelFolder(description, (backbone or {}) | head)


@dataclass(frozen=True)
class AnomalySummary:
    """How a training of the anomaly network went."""

    n_abnormal: int  # bags trained on
    n_normal: int
    best: BagEvaluation
    steps: int  # taken until it stopped
    corpora: tuple[str, ...]  # whose clips it was trained or validated on

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {
            "bags_abnormal": self.n_abnormal,
            "bags_normal": self.n_normal,
            "best_step": self.best.step,
            "steps": self.steps,
            "val_bag_auc": self.best.val_auc,
            "val_bag_loss": self.best.val_loss,
        }


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


class BagTraining(Training[tuple[Tensor, Tensor], BagEvaluation]):
    """Steps on batches of row numbers of abnormal and of normal bags, as many of each."""

    def __init__(self, train_bags: Bags, val_bags: Bags, config: BagTrainingConfig, seed: int):
        torch.manual_seed(seed)
        self.network = RtfmNetwork(train_bags.dim, config.dropout, config.temporal)
        both = torch.cat([train_bags.abnormal, train_bags.normal]).reshape(-1, train_bags.dim)
        self.network.standardise_by(both)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.lr, weight_decay=config.weight_decay, foreach=True
        )
        self.parts = {"network": self.network, "optimiser": self.optimiser}
        self._loss = build(config.loss, config.top_k, train_bags.dim)
        self._bags, self._val_bags, self._lr, self._seed = train_bags, val_bags, config.lr, seed
        size = config.batch_size
        self._abnormal = EndlessOrder(len(train_bags.abnormal), size, seed, 0)
        self._normal = EndlessOrder(len(train_bags.normal), size, seed, 1)

    def batches(self, first: int, last: int) -> Generator[tuple[Tensor, Tensor], None, None]:
        for step in range(first, last):
            yield self._abnormal.batch(step), self._normal.batch(step)

    def step(self, batch: tuple[Tensor, Tensor], number: int) -> dict[str, Tensor]:
        torch.manual_seed(hash((self._seed, number)) & 0x7FFFFFFF)  # of dropout
        self.network.train()
        abnormal, normal = _paired(self.network, self._bags, batch)
        for side in (abnormal, normal):
            require_finite(side.scores, "training: scores are", number, "lr", self._lr)
        loss = self._loss(abnormal, normal)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def evaluate(self, steps: int, losses: dict[str, float]) -> BagEvaluation:
        return BagEvaluation(
            steps, losses["loss"], *evaluate(self.network, self._val_bags, self._loss)
        )

    def weights(self) -> dict[str, Tensor]:
        return self.network.state_dict()

    def better(self, new: BagEvaluation, best: BagEvaluation) -> bool:
        return new.better_than(best)

    def restore(self, **fields: Any) -> BagEvaluation:
        return BagEvaluation(**fields)


def train_on(
    dataset: str,
    clips_table: Path,
    leave_out: str,
    store: FeatureStore,
    segments: int,
    config: BagTrainingConfig,
    scale: float,
    seed: int,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None,
) -> tuple[TrainedHead, AnomalySummary]:
    """Train the anomaly network on the labelled clips of a data set and their features."""
    clips = labelled(clips_table, leave_out, weak=dataset == UNTRIMMED)
    bags = {part: collect(clips, store, segments, part) for part in ("train", "val")}
    values = {field.name: getattr(config, field.name) for field in fields(BagTrainingConfig)}
    plain = BagTrainingConfig(**values)
    key = value_sha256(
        [asdict(plain), segments, scale, seed, leave_out, asdict(store.info)]
        + [files_sha256([clips_table]), code_sha256(__name__)]
    )
    trained = train(
        bags["train"], bags["val"], plain, scale, seed, work_dir / key[:16], on_evaluation
    )
    summary = AnomalySummary(
        n_abnormal=len(bags["train"].abnormal),
        n_normal=len(bags["train"].normal),
        best=trained.best,
        steps=trained.history[-1].step,
        corpora=corpora_of(clips[clips["split"] != "test"]),
    )
    return trained, summary


def train(
    train_bags: Bags,
    val_bags: Bags,
    config: BagTrainingConfig,
    scale: float,
    seed: int,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None = None,
) -> TrainedHead:
    """Train a network on ``train_bags``; ``work_dir`` holds the state until it is done."""
    if config.threads < 1:
        raise ConfigError(f"threads is {config.threads}: set it above 0")
    steps = config.scaled(config.steps, scale)
    val_every = min(config.scaled(config.val_every, scale), steps)
    schedule = TrainingLength(steps, val_every, config.scaled(config.patience_steps, scale))
    with torch_threads(config.threads):
        training = BagTraining(train_bags, val_bags, config, seed)
        best = fit(training, schedule, work_dir, on_evaluation)
    training.network.load_state_dict(best.weights)
    shutil.rmtree(work_dir, ignore_errors=True)
    return TrainedHead(training.network.eval(), best.evaluation, best.history)


def _paired(
    network: RtfmNetwork, bags: Bags, rows: tuple[Tensor, Tensor]
) -> tuple[RtfmOutput, RtfmOutput]:
    """One pass over both halves, so that batch norm sees them together; then apart again."""
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
