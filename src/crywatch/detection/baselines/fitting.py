"""Training of the case study's classifiers, with the validation part to choose by."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.core.models import n_parameters
from crywatch.detection import training
from crywatch.detection.baselines.networks import AppNetwork, CnnNetwork, DenseNetwork
from crywatch.detection.baselines.svc import SvcArrays

BATCH = 256  # windows, where nothing is trained
Network = DenseNetwork | CnnNetwork | AppNetwork


@dataclass(frozen=True)
class Data:
    """Windows of one part; class 0 is crying."""

    inputs: np.ndarray  # [windows, ...]
    labels: np.ndarray  # [windows] int64


@dataclass(frozen=True)
class NetworkSchedule:
    """How a network is trained."""

    lr: float
    batch_size: int
    epochs: int
    patience_epochs: int  # without a lower loss on the validation part


@dataclass(frozen=True)
class FittedBaseline:
    """What goes into a model folder."""

    weights: dict[str, Tensor]
    n_parameters: int
    metrics: dict[str, float]
    history: list[dict[str, float]]


def fit_svc(
    train: Data, val: Data, c_values: Sequence[float], gammas: Sequence[float]
) -> FittedBaseline:
    """Standardised, RBF kernel; C and gamma by the mean recall over classes of ``val``."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    scaler = StandardScaler().fit(train.inputs)
    rows = scaler.transform(train.inputs)
    best: SvcArrays | None = None
    history: list[dict[str, float]] = []
    for c in c_values:
        for gamma in gammas:
            svc = SVC(C=c, gamma=gamma, class_weight="balanced").fit(rows, train.labels)
            arrays = SvcArrays.of(scaler, svc)
            predicted = arrays.decisions(val.inputs).argmax(axis=1)
            accuracy = mean_recall(val.labels, predicted)
            if best is None or accuracy > max(row["val_accuracy"] for row in history):
                best = arrays  # the first of equals: the smoother one
            history.append({"c": c, "gamma": gamma, "val_accuracy": accuracy})
    if best is None:
        raise ConfigError("train_baselines.svc: c and gamma must name at least one value each")
    metrics = max(history, key=lambda row: row["val_accuracy"])
    called = best.decisions(train.inputs).argmax(axis=1)
    metrics |= {"train_accuracy": mean_recall(train.labels, called)}
    weights = {f"svc.{name}": torch.from_numpy(value) for name, value in vars(best).items()}
    return FittedBaseline(weights, best.n_parameters, metrics, history)


def fit_network(
    network: Network,
    train: Data,
    val: Data,
    schedule: NetworkSchedule,
    seed: int,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> FittedBaseline:
    """Adam on cross-entropy; the weights of the epoch with the lowest loss on ``val``."""
    epoch_steps = -(-len(train.labels) // schedule.batch_size)
    best = training.fit(
        NetworkTraining(network, train, val, schedule, seed),
        training.TrainingLength(
            schedule.epochs * epoch_steps, epoch_steps, schedule.patience_epochs * epoch_steps
        ),
        on_evaluation=on_epoch,
    )
    metrics = {f"best_{k}" if k == "epoch" else k: v for k, v in best.evaluation.items()}
    network.load_state_dict(best.weights)
    called = _logits(network.eval(), train.inputs).argmax(dim=1).numpy()
    metrics |= {"train_accuracy": mean_recall(train.labels, called)}
    weights = {f"network.{name}": value for name, value in best.weights.items()}
    return FittedBaseline(weights, n_parameters(network), metrics, best.history)


class NetworkTraining(training.Training[Tensor, dict[str, float]]):
    """Steps on batches of row numbers; an evaluation is a line of history.csv."""

    parts = {}

    def __init__(
        self,
        network: Network,
        train: Data,
        val: Data,
        schedule: NetworkSchedule,
        seed: int,
    ):
        self._network, self._val, self._schedule = network, val, schedule
        self._inputs = torch.from_numpy(train.inputs).float()
        self._labels = torch.from_numpy(train.labels)
        network.standard.fit(self._inputs)
        classes = torch.bincount(self._labels, minlength=int(self._labels.max()) + 1).float()
        self._class_weights = len(self._labels) / (len(classes) * classes)
        self._optimiser = torch.optim.Adam(network.parameters(), lr=schedule.lr)
        self._generator = torch.Generator().manual_seed(seed)

    def batches(self, first: int, last: int) -> Generator[Tensor, None, None]:
        while first < last:
            order = torch.randperm(len(self._labels), generator=self._generator)
            epoch = order.split(self._schedule.batch_size)
            first += len(epoch)
            yield from epoch

    def step(self, batch: Tensor, number: int) -> dict[str, Tensor]:
        self._network.train()
        logits = self._network(self._inputs[batch])
        loss = functional.cross_entropy(logits, self._labels[batch], self._class_weights)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return {"train_loss": loss.detach()}

    @torch.inference_mode()
    def evaluate(self, steps: int, losses: dict[str, float]) -> dict[str, float]:
        """Losses, and the mean recall over classes."""
        labels = torch.from_numpy(self._val.labels)
        logits = _logits(self._network.eval(), self._val.inputs)
        val_loss = functional.cross_entropy(logits, labels, self._class_weights)
        rate, lr = "lr", self._schedule.lr
        training.require_finite(val_loss, "train_baselines: the loss is", steps, rate, lr)
        epoch_steps = -(-len(self._labels) // self._schedule.batch_size)
        return {
            "epoch": steps // epoch_steps - 1,
            **losses,
            "val_loss": val_loss.item(),
            "val_accuracy": mean_recall(self._val.labels, logits.argmax(dim=1).numpy()),
        }

    def weights(self) -> dict[str, Tensor]:
        return self._network.state_dict()

    def better(self, new: dict[str, float], best: dict[str, float]) -> bool:
        return new["val_loss"] < best["val_loss"]


@torch.inference_mode()
def _logits(network: Network, inputs: np.ndarray) -> Tensor:
    """[windows, ...] to [windows, classes]."""
    batches = torch.from_numpy(inputs).float().split(BATCH)
    return torch.cat([network(batch) for batch in batches])


def mean_recall(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Over the classes among ``labels`` [n], whatever their sizes."""
    return float(
        np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)])
    )
