"""Training of the case study's classifiers, with the validation part to choose by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crywatch.core.errors import ConfigError
from crywatch.core.models import n_parameters
from crywatch.detection.baselines.svc import SvcArrays

BATCH = 256  # windows, where nothing is trained


@dataclass(frozen=True)
class Data:
    """Windows of one part; class 0 is crying."""

    inputs: np.ndarray  # [windows, ...]
    labels: np.ndarray  # [windows] int64


@dataclass(frozen=True)
class Schedule:
    """How a network is trained."""

    lr: float
    batch_size: int
    epochs: int
    patience_epochs: int  # without a lower loss on the validation part


@dataclass(frozen=True)
class Fitted:
    """What goes into a model folder."""

    weights: dict[str, Tensor]
    n_parameters: int
    metrics: dict[str, float]
    history: list[dict[str, float]]


def fit_svc(train: Data, val: Data, c_values: Sequence[float], gammas: Sequence[float]) -> Fitted:
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
            called = arrays.decisions(val.inputs).argmax(axis=1)
            accuracy = mean_recall(val.labels, called)
            if best is None or accuracy > max(one["val_accuracy"] for one in history):
                best = arrays  # the first of equals: the smoother one
            history.append({"c": c, "gamma": gamma, "val_accuracy": accuracy})
    if best is None:
        raise ConfigError("train_baselines.svc: c and gamma must name at least one value each")
    chosen = max(history, key=lambda one: one["val_accuracy"])
    weights = {f"svc.{name}": torch.from_numpy(value) for name, value in vars(best).items()}
    return Fitted(weights, best.n_parameters, chosen, history)


def fit_network(
    network: nn.Module,
    train: Data,
    val: Data,
    schedule: Schedule,
    seed: int,
    on_epoch: Callable[[dict], None] | None = None,
) -> Fitted:
    """Adam on cross-entropy; the weights of the epoch with the lowest loss on ``val``."""
    inputs, labels = (torch.from_numpy(part) for part in (train.inputs, train.labels))
    inputs = inputs.float()
    network.standard.fit(inputs)
    classes = torch.bincount(labels, minlength=int(labels.max()) + 1).float()
    weight = len(labels) / (len(classes) * classes)
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.lr)
    generator = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    best: dict[str, float] = {}
    weights: dict[str, Tensor] = {}
    for epoch in range(schedule.epochs):
        network.train()
        losses = []
        for rows in torch.randperm(len(labels), generator=generator).split(schedule.batch_size):
            loss = functional.cross_entropy(network(inputs[rows]), labels[rows], weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        found = {"epoch": epoch, "train_loss": float(np.mean(losses))}
        found |= _validated(network, val, weight)
        if not np.isfinite(found["val_loss"]):
            raise ConfigError(
                f"train_baselines: the loss is not finite after epoch {epoch}: lower lr "
                f"({schedule.lr:g})"
            )
        history.append(found)
        if on_epoch is not None:
            on_epoch(found)
        if not best or found["val_loss"] < best["val_loss"]:
            best = found
            weights = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best["epoch"] >= schedule.patience_epochs:
            break
    metrics = {f"best_{k}" if k == "epoch" else k: v for k, v in best.items()}
    named = {f"network.{name}": value for name, value in weights.items()}
    return Fitted(named, n_parameters(network), metrics, history)


@torch.inference_mode()
def _validated(network: nn.Module, val: Data, weight: Tensor) -> dict[str, float]:
    """Loss, and the mean recall over classes."""
    network.eval()
    labels = torch.from_numpy(val.labels)
    batches = torch.from_numpy(val.inputs).float().split(BATCH)
    logits = torch.cat([network(batch) for batch in batches])
    called = logits.argmax(dim=1).numpy()
    return {
        "val_loss": functional.cross_entropy(logits, labels, weight).item(),
        "val_accuracy": mean_recall(val.labels, called),
    }


def mean_recall(labels: np.ndarray, called: np.ndarray) -> float:
    """Over the classes among ``labels`` [n], whatever their sizes."""
    return float(np.mean([(called[labels == one] == one).mean() for one in np.unique(labels)]))
