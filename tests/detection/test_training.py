"""The training loop: when it evaluates and stops, what it keeps, and how a killed one goes on."""

from __future__ import annotations

import pytest
import torch

from crywatch.core.errors import ConfigError
from crywatch.detection.training import (
    STATE_FILE,
    Best,
    Training,
    TrainingLength,
    fit,
    require_finite,
)


class Killed(BaseException):
    """Stands for the end of the process."""


class Counting(Training[int, dict[str, float]]):
    """Its weight is the sum of its batches; its evaluations are ``values``, one after the other."""

    def __init__(self, values: list[float], die_at: int = -1):
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.layer.weight)
        self.parts = {"layer": self.layer}
        self.values, self.die_at, self.steps = values, die_at, []

    def batches(self, first, last):
        yield from range(first, last)

    def step(self, batch, number):
        if number == self.die_at:
            raise Killed
        self.steps.append(number)
        with torch.no_grad():
            self.layer.weight += batch
        return {"loss": torch.tensor(float(batch))}

    def evaluate(self, steps, losses):
        return {"step": steps, "loss": losses["loss"], "value": self.values[(steps - 1) // 2]}

    def weights(self):
        return self.layer.state_dict()

    def better(self, new, best):
        return new["value"] > best["value"]


def weight(best: Best) -> float:
    return best.weights["weight"].item()


def test_it_evaluates_every_so_many_steps_and_after_the_last_one():
    best = fit(Counting([1.0, 3.0, 2.0]), TrainingLength(5, 2))
    assert [row["step"] for row in best.history] == [2, 4, 5]
    assert [row["loss"] for row in best.history] == [0.5, 2.5, 4.0]
    assert best.evaluation["step"] == 4
    assert weight(best) == 0 + 1 + 2 + 3  # of then, not of the last step


def test_it_stops_after_steps_without_a_better_evaluation():
    values = [1.0, 3.0, 2.0, 3.0, 9.0]
    assert len(fit(Counting(values), TrainingLength(10, 2, 4)).history) == 4
    assert len(fit(Counting(values), TrainingLength(10, 2)).history) == 5


@pytest.mark.parametrize("die_at", [1, 2, 3, 5])
def test_a_killed_training_goes_on_from_its_last_evaluation(tmp_path, die_at):
    values, length = [1.0, 3.0, 2.0], TrainingLength(6, 2)
    whole = fit(Counting(values), length)
    with pytest.raises(Killed):
        fit(Counting(values, die_at), length, tmp_path)
    resumed = Counting(values)
    best = fit(resumed, length, tmp_path)
    assert resumed.steps == list(range(die_at // 2 * 2, 6))
    assert (best.history, best.index, weight(best)) == (whole.history, whole.index, weight(whole))


def test_a_training_that_was_over_does_nothing_more(tmp_path):
    values = [3.0, 2.0, 1.0]
    first = fit(Counting(values), TrainingLength(6, 2, 2), tmp_path)
    again = Counting(values)
    assert fit(again, TrainingLength(6, 2, 2), tmp_path).history == first.history
    assert again.steps == [] and (tmp_path / STATE_FILE).is_file()


def test_the_state_is_on_disk_when_an_evaluation_is_told(tmp_path):
    def kill(evaluation):
        raise Killed

    with pytest.raises(Killed):
        fit(Counting([1.0]), TrainingLength(2, 2), tmp_path, kill)
    assert fit(Counting([1.0]), TrainingLength(2, 2), tmp_path).evaluation["step"] == 2


def test_what_is_not_finite_names_the_rate():
    require_finite(torch.ones(2), "x: the loss is", 3, "x.lr", 0.1)
    with pytest.raises(ConfigError, match=r"x: the loss is not finite at step 3: lower x.lr \(0.1"):
        require_finite(torch.tensor([1.0, float("nan")]), "x: the loss is", 3, "x.lr", 0.1)
