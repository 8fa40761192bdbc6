"""Bags, the RTFM network and its losses; each trap of the reference code has a test of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from crywatch.core.errors import ConfigError, TableError
from crywatch.core.models import n_parameters
from crywatch.data.features import FeatureStore, StoreInfo
from crywatch.detection.anomaly.bags import collect, fit_to_segments
from crywatch.detection.anomaly.losses import MilRanking, Rtfm, build, smoothness, sparsity, top_k
from crywatch.detection.anomaly.network import NonLocal, RtfmNetwork, RtfmOutput
from tests.helpers.anomaly_cases import MIL, RTFM, output, vector_store

# Bags


ROWS = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 60.0]], dtype=np.float32)


def test_fewer_seconds_than_segments_are_interpolated_by_hand():
    found = fit_to_segments(ROWS, 5)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 10], [0.5, 15], [1, 20], [1.5, 40], [2, 60]]
    assert np.array_equal(fit_to_segments(ROWS, 3), ROWS)


def test_more_seconds_than_segments_are_averaged_by_hand():
    found = fit_to_segments(ROWS, 2)  # edges 0, 1, 3
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 10], [1.5, 40]]


def test_a_clip_of_one_second_fills_its_bag():
    assert fit_to_segments(np.array([[3.0, 4.0]]), 5).tolist() == [[3, 4]] * 5


@pytest.mark.parametrize("n", [2, 4, 9])
def test_interpolation_is_numpys(n):
    rows = np.random.default_rng(n).standard_normal((n, 3))
    at = np.linspace(0, n - 1, 10)
    expected = np.stack([np.interp(at, np.arange(n), column) for column in rows.T], axis=1)
    np.testing.assert_allclose(fit_to_segments(rows, 10), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [11, 19, 20, 61])
def test_every_second_of_a_long_recording_is_in_its_bag(n):
    for second in range(n):
        rows = np.zeros((n, 1))
        rows[second] = 1.0
        bag = fit_to_segments(rows, 10)
        assert (bag > 0).sum() == 1 and bag.max() >= 1 / (n // 10 + 1)


def test_bags_of_a_part_come_from_its_clips_alone(tmp_path):
    vectors = {f"a/{i}": np.full((i + 1, 2), i, dtype=np.float32) for i in range(5)}
    store = FeatureStore(vector_store(tmp_path / "store", vectors, StoreInfo("toy", 2, "d")))
    clips = pd.DataFrame(
        {
            "clip_id": list(vectors),
            "label": ["cry", "other", "cry", "other", "cry"],
            "split": ["train", "train", "train", "val", "test"],
        }
    )
    bags = collect(clips, store, 3, "train")
    assert bags.abnormal.shape == (2, 3, 2) and bags.normal.shape == (1, 3, 2)
    assert bags.abnormal.dtype == torch.float32 and bags.dim == 2
    assert bags.abnormal[:, 0, 0].tolist() == [0, 2] and bags.normal[0, 0, 0] == 1
    with pytest.raises(TableError, match="part val has no clip labelled 'cry'"):
        collect(clips, store, 3, "val")


# The network


def expected_parameters(dim: int) -> int:
    """Summed layer by layer from FACTS: weights, biases, and two numbers a normalised channel."""
    branches = 3 * (dim * 512 * 3 + 512 + 2 * 512)
    squeeze = dim * 512
    non_local = 3 * (512 * 256 + 256) + (256 * 512 + 512) + 2 * 512
    join = 4 * 512 * dim * 3 + 2 * dim
    head = (dim * 512 + 512) + (512 * 128 + 128) + (128 + 1)
    return branches + squeeze + non_local + join + head


@pytest.mark.parametrize("dim", [128, 224, 2048])
def test_parameter_count(dim):
    with torch.device("meta"):
        assert n_parameters(RtfmNetwork(dim)) == expected_parameters(dim)


@pytest.mark.parametrize("segments", [1, 2, 5, 10, 37])
@pytest.mark.parametrize("dim", [6, 128])
def test_shapes(dim, segments):
    network = RtfmNetwork(dim).eval()
    with torch.no_grad():
        found = network(torch.randn(3, segments, dim))
    assert found.features.shape == (3, segments, dim)
    assert found.scores.shape == found.magnitudes.shape == (3, segments)
    assert ((found.scores > 0) & (found.scores < 1)).all()
    torch.testing.assert_close(found.magnitudes, found.features.square().sum(dim=2).sqrt())


def lively(dim: int) -> RtfmNetwork:
    """A network none of whose parts is the identity."""
    torch.manual_seed(3)
    network = RtfmNetwork(dim)
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            value.copy_(0.05 * torch.randn_like(value))
        if name.endswith(("running_var", "deviation")):
            value.copy_(torch.rand_like(value) + 0.5)
    return network.eval()


def slow_forward(weights: dict[str, np.ndarray], bag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One bag [segments, dim] to features and scores, loop by loop from FACTS section 2."""

    def conv(x, name, dilation=1):
        kernel = weights[f"{name}.weight"]  # [out, in, taps]
        bias = weights.get(f"{name}.bias", 0.0)
        out = np.zeros((len(x), len(kernel)))
        for t in range(len(x)):
            for tap in range(kernel.shape[2]):
                source = t + (tap - kernel.shape[2] // 2) * dilation
                if 0 <= source < len(x):
                    out[t] += kernel[:, :, tap] @ x[source]
        return out + bias

    def norm(x, name):
        part = {k: weights[f"{name}.{k}"] for k in ("running_mean", "running_var")}
        scaled = (x - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def relu(x):
        return np.maximum(x, 0)

    x = (bag - weights["mean"]) / weights["deviation"]
    joined = [
        norm(relu(conv(x, f"branches.{i}.0", dilation)), f"branches.{i}.2")
        for i, dilation in enumerate((1, 2, 4))
    ]
    small = relu(conv(x, "squeeze.0"))
    theta, phi, g = (conv(small, f"non_local.{name}") for name in ("theta", "phi", "g"))
    attended = (theta @ phi.T / len(x)) @ g
    joined.append(norm(conv(attended, "non_local.out.0"), "non_local.out.1") + small)
    features = norm(relu(conv(np.concatenate(joined, axis=1), "join.0")), "join.2") + x
    y = features
    for layer in (0, 3, 6):
        y = y @ weights[f"head.{layer}.weight"].T + weights[f"head.{layer}.bias"]
        y = relu(y) if layer < 6 else 1 / (1 + np.exp(-y))
    return features, y[:, 0]


@pytest.mark.parametrize("segments", [1, 3, 5, 10])
def test_the_network_is_the_slow_reference(segments):
    network = lively(dim=7)
    weights = {k: v.double().numpy() for k, v in network.state_dict().items()}
    bags = torch.randn(2, segments, 7)
    with torch.no_grad():
        found = network(bags)
    for row, bag in enumerate(bags.double().numpy()):
        features, scores = slow_forward(weights, bag)
        np.testing.assert_allclose(found.features[row], features, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.scores[row], scores, rtol=1e-4, atol=1e-5)


def test_the_non_local_block_of_a_long_recording_is_the_same_sum():
    torch.manual_seed(0)
    block = NonLocal().eval()
    torch.nn.init.ones_(block.out[1].weight)
    x = torch.randn(1, 512, 300)
    with torch.inference_mode():
        theta, phi, g = block.theta(x)[0], block.phi(x)[0], block.g(x)[0]
        attended = g @ (phi.T @ theta / 300)
        expected = block.out(attended[None]) + x
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_the_non_local_block_holds_no_matrix_of_all_pairs():
    block = NonLocal().eval()
    with torch.inference_mode():
        # All pairs of these seconds would be 1.6 GB.
        with torch.profiler.profile(profile_memory=True) as seen:
            block(torch.zeros(1, 512, 20_000))
        sizes = [event.self_cpu_memory_usage for event in seen.events()]
    assert max(sizes) < 4 * 20_000 * 2_000  # bytes


def test_the_non_local_block_starts_as_the_identity():
    block = RtfmNetwork(4).non_local
    x = torch.randn(2, 512, 5)
    assert torch.equal(block.train()(x), x)


def test_the_network_standardises_with_what_it_saved():
    vectors = torch.randn(200, 4) * torch.tensor([1.0, 10.0, 0.1, 0.0]) + 5
    network = RtfmNetwork(4)
    network.standardise_by(vectors)
    assert {"mean", "deviation"} <= set(network.state_dict())
    again = RtfmNetwork(4)
    again.load_state_dict(network.state_dict())
    x = vectors.reshape(40, 5, 4)
    with torch.no_grad():
        ours, theirs = network.eval()(x), again.eval()(x)
    assert torch.equal(ours.scores, theirs.scores)
    # A number that never changes must not turn into NaN.
    assert ours.features.isfinite().all()
    standard = (vectors - network.mean) / network.deviation
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(dim=0)[:3], torch.ones(3))


# Losses by hand


def test_mil_ranking_by_hand():
    nothing = [[[0.0]] * 3]
    abnormal, normal = output(nothing, [[0.2, 0.9, 0.4]]), output(nothing, [[0.3, 0.1, 0.5]])
    hinge, steps, squares = 1 - 0.9 + 0.5, 0.7**2 + 0.5**2, 0.2**2 + 0.9**2 + 0.4**2
    assert MilRanking(MIL)(abnormal, normal).item() == pytest.approx(
        hinge + 8e-5 * steps + 8e-5 * squares, rel=1e-6
    )
    heavy = replace(MIL, smoothness=1.0, sparsity=2.0)
    assert MilRanking(heavy)(abnormal, normal).item() == pytest.approx(
        hinge + steps + 2 * squares, rel=1e-6
    )


def test_the_hinge_ends_at_the_margin_and_pairs_rows():
    config = replace(MIL, margin=0.5, smoothness=0.0, sparsity=0.0)
    nothing = [[[0.0]], [[0.0]]]
    abnormal, normal = output(nothing, [[0.9], [0.6]]), output(nothing, [[0.1], [0.4]])
    # First pair: 0.5 - 0.8 < 0. Second pair: 0.5 - 0.2 = 0.3.
    assert MilRanking(config)(abnormal, normal).item() == pytest.approx((0 + 0.3) / 2)


ABNORMAL = ([[[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]]], [[0.6, 0.1, 0.8]])  # magnitudes 5, 1, 10
NORMAL = ([[[0.0, 2.0], [1.0, 0.0], [0.0, 0.5]]], [[0.2, 0.4, 0.9]])  # magnitudes 2, 1, 0.5


def test_top_k_by_hand():
    top = top_k(output(*ABNORMAL), 2)
    assert top.feature.tolist() == [[4.5, 6.0]]
    assert top.score.tolist() == pytest.approx([0.7])
    # The highest score of the normal bag is that of the smallest magnitude: it is not chosen.
    assert top_k(output(*NORMAL), 2).score.tolist() == pytest.approx([0.3])
    assert top_k(output(*NORMAL), 8).score.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(("margin_dim", "margin"), [(0, 100.0), (8, 50.0), (2, 100.0)])
def test_rtfm_by_hand(margin_dim, margin):
    loss = Rtfm(replace(RTFM, margin_dim=margin_dim), k=2, dim=2)
    assert loss.margin == pytest.approx(margin)
    entropy = -(math.log(0.7) + math.log(1 - 0.3)) / 2
    magnitude = (margin - math.hypot(4.5, 6.0) + math.hypot(0.5, 1.0)) ** 2
    squares, steps = 0.36 + 0.01 + 0.64, 0.25 + 0.49
    assert loss(output(*ABNORMAL), output(*NORMAL)).item() == pytest.approx(
        entropy + 1e-4 * magnitude + 8e-3 * squares + 8e-4 * steps, rel=1e-5
    )


def test_a_magnitude_beyond_the_margin_counts_as_far_from_it():
    config = replace(RTFM, alpha=1.0, margin=5.0, margin_dim=0, sparsity=0.0, smoothness=0.0)
    entropy = replace(config, alpha=0.0)
    sides = output(*ABNORMAL), output(*NORMAL)
    magnitude = Rtfm(config, 2, 2)(*sides) - Rtfm(entropy, 2, 2)(*sides)
    assert magnitude.item() == pytest.approx((2.5 + math.hypot(0.5, 1.0)) ** 2, rel=1e-5)


@pytest.mark.parametrize(("dim", "margin"), [(128, 25.0), (224, 33.0719), (2048, 100.0)])
def test_the_margin_fits_the_width_of_the_features(dim, margin):
    assert build(RTFM, 2, dim).margin == pytest.approx(margin, rel=1e-5)


def test_cross_entropy_is_finite_at_the_ends():
    sure = output([[[1.0]]], [[1.0]]), output([[[1.0]]], [[0.0]])
    for sides in (sure, sure[::-1]):
        assert build(RTFM, 2, 1)(*sides).isfinite()


def test_losses_are_chosen_by_name():
    assert isinstance(build(MIL, 2, 8), MilRanking) and isinstance(build(RTFM, 2, 8), Rtfm)
    with pytest.raises(ConfigError, match=r"loss\.name: 'triplet'"):
        build(replace(RTFM, name="triplet"), 2, 8)


# The traps of the reference code (FACTS section 2); the checkpoint's is in test_anomaly_training


def test_trap_smoothness_never_crosses_bags():
    flat = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    assert smoothness(flat).item() == 0
    scores = torch.rand(6, 5)
    by_bag = np.mean([np.sum(np.diff(bag) ** 2) for bag in scores.numpy()])
    assert smoothness(scores).item() == pytest.approx(by_bag, rel=1e-5)
    # A term that crosses bags would change with their order.
    assert smoothness(scores[torch.tensor([3, 0, 5, 1, 4, 2])]).item() == pytest.approx(by_bag)


def test_trap_sparsity_is_a_sum_of_squares():
    scores = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert sparsity(scores).item() == pytest.approx((0.5 + 1.0) / 2)  # norms: (0.71 + 1) / 2
    # Quadratic in the scores, where the norm would be linear.
    assert sparsity(scores / 2).item() == pytest.approx(sparsity(scores).item() / 4)


@pytest.mark.parametrize("seed", range(20))
def test_trap_k_live_segments_are_always_chosen(seed):
    """Through a mask of dropout 0.7, fewer than 2 of 5 segments survive in 53 % of draws."""
    torch.manual_seed(seed)
    network = RtfmNetwork(6, dropout=0.7).train()
    bags = torch.randn(4, 5, 6)
    found = network(bags)
    assert (found.magnitudes > 0).all()
    undropped = RtfmNetwork(6, dropout=0.0)
    undropped.load_state_dict(network.state_dict())
    assert torch.equal(found.features, undropped.train()(bags).features)
    # The chosen ones are the largest of the whole bag, and exactly k of them learn.
    scores = found.scores.detach().requires_grad_()
    top_k(RtfmOutput(found.features, scores), 2).score.sum().backward()
    chosen = scores.grad > 0
    assert chosen.sum(dim=1).tolist() == [2] * 4
    largest = functional.one_hot(found.magnitudes.topk(2).indices, 5).sum(dim=1).bool()
    assert torch.equal(chosen, largest)


def test_dropout_reaches_the_scores_in_training_alone():
    torch.manual_seed(0)
    network = RtfmNetwork(6, dropout=0.7)
    bags = torch.randn(4, 5, 6)
    assert not torch.equal(network(bags).scores, network(bags).scores)
    network.eval()
    assert torch.equal(network(bags).scores, network(bags).scores)
