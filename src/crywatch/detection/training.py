"""The training loop of every network but BlazeNet, whose loop is Lightning's (it trains by DDP).

A training says how its batches are made, what a step does and what an evaluation finds. The loop
counts the steps, evaluates every so many, keeps the weights of the best evaluation and stops after
some steps without a better one. All state is written after every evaluation, as one file that is
replaced at once: a training that was killed goes on from there, and to the same bytes where its
batches and steps are functions of seed and step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from crywatch.core.atomic import atomic_dir, atomic_path, write_json
from crywatch.core.errors import ConfigError
from crywatch.core.models import ModelFolder, save
from crywatch.core.progress import progress_bar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STATE_FILE = "state.ckpt"

B = TypeVar("B")  # a batch
E = TypeVar("E", bound="DataclassInstance | dict[str, float]")  # what an evaluation finds


class Stateful(Protocol):
    """A network, an optimiser, a schedule of rates."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes from step to step."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Go on from what `state_dict` gave."""


@dataclass(frozen=True)
class TrainingLength:
    """How long a training lasts."""

    steps: int
    evaluate_every: int  # steps; the last step is evaluated too
    patience_steps: int | None = None  # without a better evaluation before it stops; None: never


class Best(Generic[E]):
    """The evaluations of a training in their order, and the weights of the best one."""

    def __init__(self, better: Callable[[E, E], bool], restore: Callable[..., E]):
        """``better(new, best)`` decides; ``restore`` makes an evaluation from its fields."""
        self._better, self._restore = better, restore
        self.history: list[E] = []
        self.index = -1  # of the best one in the history
        self.weights: dict[str, Tensor] = {}

    @property
    def evaluation(self) -> E:
        """The best one."""
        return self.history[self.index]

    def add(self, evaluation: E, weights: Mapping[str, Tensor]) -> None:
        """Another evaluation, of a network with ``weights``, which may change afterwards."""
        self.history.append(evaluation)
        if self.index < 0 or self._better(evaluation, self.evaluation):
            self.index = len(self.history) - 1
            self.weights = {k: value.detach().cpu().clone() for k, value in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        history = [dict(e) if isinstance(e, dict) else asdict(e) for e in self.history]
        return {"history": history, "index": self.index, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.history = [self._restore(**fields) for fields in state_dict["history"]]
        self.index, self.weights = state_dict["index"], state_dict["weights"]


class Training(ABC, Generic[B, E]):
    """What differs between trainings."""

    parts: dict[str, Stateful]  # all that a killed training must find again

    @abstractmethod
    def batches(self, first: int, last: int) -> Generator[B, None, None]:
        """The batches of steps ``first`` up to, not including, ``last``."""

    @abstractmethod
    def step(self, batch: B, number: int) -> dict[str, Tensor]:
        """Learn from the batch of step ``number`` (from 0); gives its losses [] by name."""

    @abstractmethod
    def evaluate(self, steps: int, losses: dict[str, float]) -> E:
        """After so many ``steps``; ``losses`` are means since the last evaluation."""

    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """What is kept of the best evaluation."""

    @abstractmethod
    def better(self, new: E, best: E) -> bool:
        """Whether the weights of evaluation ``new`` go before those of ``best``."""

    def restore(self, **fields: Any) -> E:
        """An evaluation from its fields; by default those of a dict."""
        return fields  # type: ignore[return-value]


def fit(
    training: Training[B, E],
    schedule: TrainingLength,
    folder: Path | None = None,
    on_evaluation: Callable[[E], None] | None = None,
) -> Best[E]:
    """Train to the end; ``folder`` holds the state, if there is one, and is the caller's to remove.

    ``on_evaluation`` is called when the state has been written.
    """
    best: Best[E] = Best(training.better, training.restore)
    parts = {**training.parts, "best": best}
    done = 0 if folder is None else _load(folder / STATE_FILE, parts)
    last = done if _out_of_patience(best, schedule, done) else schedule.steps
    losses: list[dict[str, Tensor]] = []
    with (
        progress_bar("train", schedule.steps, unit="step", done=done) as bar,
        closing(training.batches(done, last)) as batches,
    ):
        for batch in batches:
            losses.append(training.step(batch, done))
            done += 1
            bar.update()
            if done % schedule.evaluate_every and done < schedule.steps:
                continue
            means = {k: float(np.mean([float(loss[k]) for loss in losses])) for k in losses[0]}
            losses.clear()
            evaluation = training.evaluate(done, means)
            best.add(evaluation, training.weights())
            if folder is not None:
                _save(folder / STATE_FILE, parts, done)
            if on_evaluation is not None:
                on_evaluation(evaluation)
            if _out_of_patience(best, schedule, done):
                break
    return best


def _out_of_patience(best: Best[E], schedule: TrainingLength, done: int) -> bool:
    if schedule.patience_steps is None or best.index < 0:
        return False
    since = done - min((best.index + 1) * schedule.evaluate_every, schedule.steps)
    return since > 0 and since >= schedule.patience_steps


def _save(path: Path, parts: Mapping[str, Stateful], done: int) -> None:
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(path) as temp:
        torch.save({"step": done, "parts": states}, temp)


def _load(path: Path, parts: Mapping[str, Stateful]) -> int:
    """Steps done; 0 where there is no state to go on from."""
    if not path.is_file():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])
    return saved["step"]


def write_trained(
    folder: Path,
    model: ModelFolder,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
    more: Callable[[Path], None] | None = None,
) -> None:
    """A model folder with metrics.json and, where there is a history, history.csv; all or none.

    ``more`` writes what else belongs there, by the model in the folder that it is given.
    """
    with atomic_dir(folder) as temp:
        save(temp, model)
        write_json(temp / "metrics.json", metrics)
        if history:
            import pandas as pd

            table = pd.DataFrame(history)
            table.to_csv(temp / "history.csv", index=False, lineterminator="\n")
        if more is not None:
            more(temp)


def require_finite(values: Tensor, what: str, step: int, rate: str, lr: float) -> None:
    """ConfigError, naming the learning ``rate``'s key, where ``values`` are not finite."""
    if not values.isfinite().all():
        raise ConfigError(f"{what} not finite at step {step}: lower {rate} ({lr:g})")
