"""Training on pairs of bags: data order, validation, early stop, and a killed training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crywatch.core.errors import ConfigError
from crywatch.core.threads import torch_threads
from crywatch.detection.anomaly import training
from crywatch.detection.anomaly.bags import Bags
from crywatch.detection.anomaly.losses import build, top_k
from crywatch.detection.anomaly.network import RtfmNetwork, score_seconds
from crywatch.detection.anomaly.training import (
    BagEvaluation,
    EndlessOrder,
    TrainedHead,
    evaluate,
    train,
)
from tests.helpers.anomaly_cases import MIL, RTFM, toy_bags, training_config

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN, VAL = toy_bags(20, seed=1), toy_bags(15, seed=2)


def go(work_dir, config=None, seed=3, on_evaluation=None, bags=TRAIN, val=VAL, scale=1.0):
    config = config or training_config()
    return train(bags, val, config, scale, seed, work_dir, on_evaluation)


def same_weights(one: TrainedHead, other: TrainedHead) -> bool:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> TrainedHead:
    return go(tmp_path_factory.mktemp("undisturbed") / "work")


# Data order


@pytest.mark.parametrize(("n", "size"), [(10, 4), (10, 10), (3, 8), (1, 5), (7, 1)])
def test_every_row_comes_once_an_epoch(n, size):
    order = EndlessOrder(n, size, seed=1, stream=0)
    rows = torch.cat([order.batch(step) for step in range(n)]).numpy()
    assert len(rows) == n * size
    for epoch in rows.reshape(size, n):
        assert sorted(epoch) == list(range(n))


def test_a_batch_is_a_function_of_seed_stream_and_step():
    def batch(seed, stream, step):
        return tuple(EndlessOrder(50, 8, seed, stream).batch(step).tolist())

    order = EndlessOrder(50, 8, 1, 0)
    assert [tuple(order.batch(step).tolist()) for step in (9, 2, 30, 2)] == [
        batch(1, 0, step) for step in (9, 2, 30, 2)
    ]
    assert len({batch(1, 0, 2), batch(1, 1, 2), batch(2, 0, 2), batch(1, 0, 3)}) == 4


def test_each_half_of_a_batch_has_an_order_of_its_own(tmp_path, monkeypatch):
    seen = []
    pair = training._paired

    def spy(network, bags, rows):
        seen.append([half.tolist() for half in rows])
        return pair(network, bags, rows)

    monkeypatch.setattr(training, "_paired", spy)
    # Six abnormal bags for twenty normal ones.
    go(tmp_path / "work", training_config(steps=6), bags=Bags(TRAIN.abnormal[:6], TRAIN.normal))
    assert all(len(abnormal) == len(normal) == 4 for abnormal, normal in seen)
    abnormal, normal = (np.concatenate(half) for half in zip(*seen, strict=True))
    assert np.bincount(abnormal, minlength=6).tolist() == [4] * 6
    assert set(normal[:20]) == set(range(20))


# Validation


def test_evaluation_by_hand():
    torch.manual_seed(1)
    network = RtfmNetwork(6)
    auc, loss = evaluate(network, VAL, build(RTFM, 2, 6))
    network.eval()
    with torch.no_grad():
        abnormal, normal = (
            np.array([top_k(network(bag[None]), 2).score.item() for bag in side])
            for side in (VAL.abnormal, VAL.normal)
        )
    assert auc == pytest.approx(np.mean(abnormal[:, None] > normal[None]))
    assert loss == pytest.approx(-np.mean(np.log(np.append(abnormal, 1 - normal))), rel=1e-4)


def test_mil_is_validated_by_the_highest_score_of_a_bag():
    torch.manual_seed(1)
    network = RtfmNetwork(6)
    auc, _ = evaluate(network, VAL, build(MIL, 2, 6))
    with torch.no_grad():
        abnormal, normal = (
            network(side).scores.numpy().max(axis=1) for side in (VAL.abnormal, VAL.normal)
        )
    assert auc == pytest.approx(np.mean(abnormal[:, None] > normal[None]))


def test_a_training_that_diverges_says_so(tmp_path):
    broken = Bags(TRAIN.abnormal * float("inf"), TRAIN.normal)
    with pytest.raises(ConfigError, match=r"not finite at step 0: lower lr \(0\.001\)"):
        go(tmp_path / "work", bags=broken)


def test_it_sums_alike_whatever_number_of_threads_it_finds(tmp_path):
    """Of these sizes one thread, two and three give other weights."""
    config = training_config(steps=2, threads=2)
    trained = []
    for found in (1, 3):
        with torch_threads(found):
            trained.append(go(tmp_path / "work", config))
            assert torch.get_num_threads() == found
    assert same_weights(*trained) and trained[0].best == trained[1].best
    with pytest.raises(ConfigError, match="threads is 0: set it above 0"):
        go(tmp_path / "work", training_config(threads=0))


def test_a_better_validation_has_a_higher_auc_or_then_a_lower_loss():
    first = BagEvaluation(1, 0.0, val_auc=0.8, val_loss=0.5)
    assert replace(first, val_auc=0.9, val_loss=9.0).better_than(first)
    assert replace(first, val_loss=0.4).better_than(first)
    assert not first.better_than(first)
    assert not replace(first, val_auc=0.7, val_loss=0.1).better_than(first)


def scripted(monkeypatch, found: list[tuple[float, float]]) -> list[dict[str, torch.Tensor]]:
    """Make validations find ``found``; gives the weights that each of them saw."""
    seen = []

    def evaluate_(network, bags, loss):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return found[len(seen) - 1]

    monkeypatch.setattr(training, "evaluate", evaluate_)
    return seen


def test_trap_the_checkpoint_is_chosen_by_validation(tmp_path, monkeypatch):
    """The reference chooses on the test set; here a training is given none at all."""
    seen = scripted(monkeypatch, [(0.6, 0.6), (0.9, 0.5), (0.9, 0.4), (0.9, 0.45)])
    trained = go(tmp_path / "work")
    assert [evaluation.step for evaluation in trained.history] == [6, 12, 18, 24]
    assert trained.best == trained.history[2]
    kept = trained.network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in seen[2].items())
    assert not all(torch.equal(value, kept[name]) for name, value in seen[3].items())
    assert not trained.network.training


def test_it_stops_after_steps_without_a_better_validation(tmp_path, monkeypatch):
    scripted(monkeypatch, [(0.6, 0.6), (0.7, 0.6), (0.7, 0.7), (0.7, 0.6), (0.9, 0.1)])
    trained = go(tmp_path / "work", training_config(steps=60, patience_steps=12))
    assert [evaluation.step for evaluation in trained.history] == [6, 12, 18, 24]
    assert trained.best.step == 12


def test_the_schedule_scales_steps_validations_and_patience(tmp_path, monkeypatch):
    scripted(monkeypatch, [(0.9, 0.1)] + [(0.5, 0.5)] * 9)
    config = training_config(steps=200, val_every=20, patience_steps=60)
    trained = go(tmp_path / "work", config, scale=0.1)
    assert [evaluation.step for evaluation in trained.history] == [2, 4, 6, 8]
    assert training_config(steps=3).scaled(3, 0.01) == 1


def test_the_last_step_is_validated_too(tmp_path):
    trained = go(tmp_path / "work", training_config(steps=8))
    assert [evaluation.step for evaluation in trained.history] == [6, 8]


# Learning


@pytest.mark.parametrize("loss", ["rtfm", "mil"])
def test_it_learns_bags_and_finds_the_segment_from_weak_labels(tmp_path, loss):
    config = training_config(steps=100, val_every=20, batch_size=8)
    config = replace(config, loss=MIL) if loss == "mil" else config
    trained = go(tmp_path / "work", config, bags=toy_bags(60, seed=1))
    assert trained.best.val_auc > 0.95
    with torch.no_grad():
        scores = trained.network(VAL.abnormal).scores
    rows = torch.arange(len(scores))
    assert (scores.argmax(dim=1) == rows % 5).float().mean() > 0.4  # by chance 0.2


def test_a_recording_is_scored_as_one_sequence(undisturbed):
    vectors = np.random.default_rng(0).standard_normal((13, 6)).astype(np.float32)
    scores = score_seconds(undisturbed.network.train(), vectors)
    assert scores.shape == (13,) and scores.dtype == np.float64
    with torch.no_grad():
        expected = undisturbed.network.eval()(torch.from_numpy(vectors)[None]).scores[0]
    np.testing.assert_allclose(scores, expected)


# Killed and resumed


class Killed(BaseException):
    """Stands for the end of the process."""


def killer(steps: set[int], seen: list[int]):
    def on_evaluation(evaluation):
        seen.append(evaluation.step)
        if evaluation.step in steps:
            steps.remove(evaluation.step)
            raise Killed

    return on_evaluation


def test_equal_seeds_give_equal_weights(undisturbed, tmp_path):
    again, other = go(tmp_path / "again"), go(tmp_path / "other", seed=4)
    assert same_weights(again, undisturbed) and again.history == undisturbed.history
    assert not same_weights(other, undisturbed)
    assert not any(tmp_path.iterdir())


def test_a_training_killed_twice_goes_on_to_the_same_weights(undisturbed, tmp_path):
    seen, steps = [], {6, 18}
    for _ in range(2):
        with pytest.raises(Killed):
            go(tmp_path / "work", on_evaluation=killer(steps, seen))
        torch.rand(17)  # what else has drawn numbers meanwhile must not matter
    trained = go(tmp_path / "work", on_evaluation=killer(steps, seen))
    assert seen == [6, 12, 18, 24]
    assert same_weights(trained, undisturbed)
    assert (trained.best, trained.history) == (undisturbed.best, undisturbed.history)


@pytest.mark.parametrize("at", [3, 10, 23])
def test_a_kill_between_two_validations_loses_only_the_steps_since(
    undisturbed, tmp_path, monkeypatch, at
):
    pair, calls = training._paired, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return pair(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_paired", failing)
        with pytest.raises(Killed):
            go(tmp_path / "work")
    seen: list[int] = []
    trained = go(tmp_path / "work", on_evaluation=killer(set(), seen))
    assert seen == [step for step in (6, 12, 18, 24) if step > (at - 1) // 6 * 6]
    assert same_weights(trained, undisturbed) and trained.history == undisturbed.history


def test_a_state_that_had_stopped_early_stays_stopped(tmp_path, monkeypatch):
    scripted(monkeypatch, [(0.9, 0.1), (0.5, 0.5)])
    config = training_config(patience_steps=6)
    with pytest.raises(Killed):
        go(tmp_path / "work", config, on_evaluation=killer({12}, []))
    trained = go(tmp_path / "work", config)
    assert [evaluation.step for evaluation in trained.history] == [6, 12]
    assert trained.best.step == 6
