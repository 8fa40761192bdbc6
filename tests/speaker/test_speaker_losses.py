"""Losses on numbers worked by hand and against slow loops; each trap of FACTS has a test."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from crywatch.core.errors import ConfigError
from crywatch.core.params import typed
from crywatch.speaker.losses import (
    MIN_W,
    Aam,
    AamConfig,
    Ge2e,
    Ge2eConfig,
    NtXent,
    NtXentConfig,
    SpeakerLoss,
    SpeakerLossConfig,
)


def batch(seed: int, counts=(4, 4, 4), dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of any length and labels, cries of infants mixed."""
    torch.manual_seed(seed)
    labels = torch.cat([torch.full((count,), 3 * i) for i, count in enumerate(counts)])
    order = torch.randperm(len(labels))
    return torch.randn(len(labels), dim) * torch.rand(len(labels), 1).exp(), labels[order]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# The vectors of the examples by hand: two infants in the plane.
EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
PLANE = torch.tensor([EAST, NORTH, WEST, WEST])
PAIRS = torch.tensor([0, 0, 1, 1])


# GE2E


def slow_similarities(embeddings, labels, w, b) -> list[dict[int, float]]:
    units = [e / np.linalg.norm(e) for e in embeddings]
    out = []
    for i, unit in enumerate(units):
        row = {}
        for k in sorted(set(labels)):
            members = [units[m] for m in range(len(units)) if labels[m] == k and m != i]
            row[k] = w * cosine(unit, np.mean(members, axis=0)) + b
        out.append(row)
    return out


def slow_ge2e(embeddings, labels, w, b, contrast) -> float:
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    losses = []
    for own, row in zip(labels, slow_similarities(embeddings, labels, w, b), strict=True):
        if contrast:
            others = [sigmoid(value) for k, value in row.items() if k != own]
            losses.append(1 - sigmoid(row[own]) + max(others))
        else:
            losses.append(-row[own] + math.log(sum(math.exp(value) for value in row.values())))
    return float(np.mean(losses))


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize("counts", [(4, 4, 4), (2, 2), (2, 5, 3, 7)])
def test_ge2e_is_the_slow_reference(contrast, counts):
    embeddings, labels = batch(1, counts)
    loss = Ge2e(Ge2eConfig(w=4.0, b=-1.5), contrast)
    expected = slow_ge2e(embeddings.double().numpy(), labels.tolist(), 4.0, -1.5, contrast)
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)


def test_ge2e_by_hand():
    # East's own centroid is north (cos 0), north's is east (0), west's is west (1). The other
    # infant's centroid is west for the first two (-1, 0), and north-east for west (-sqrt(1/2)).
    w, b, far = 2.0, -1.0, -math.sqrt(0.5)
    cosines = [(0, -1), (0, 0), (1, far), (1, far)]
    softmax = [-w * own + math.log(math.exp(w * own) + math.exp(w * two)) for own, two in cosines]

    def sigmoid(x):
        return 1 / (1 + math.exp(-(w * x + b)))

    contrast = [1 - sigmoid(own) + sigmoid(two) for own, two in cosines]
    for form, expected in ((False, softmax), (True, contrast)):
        found = Ge2e(Ge2eConfig(w=w, b=b), form)(PLANE, PAIRS)
        assert found.item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_ge2e_starts_where_the_config_says():
    for start in (10.0, 0.5, 0.002, 500.0):
        assert Ge2e(Ge2eConfig(w=start), False).w.item() == pytest.approx(start, rel=1e-4)
    with pytest.raises(ConfigError, match="loss.ge2e: w is 0: set it above"):
        Ge2e(Ge2eConfig(w=0.0), False)


def test_trap_the_own_centroid_leaves_the_cry_out():
    """With it inside, a cry is near its own centroid whatever it is: here cos 0.71, not 0."""
    similarities, own = Ge2e(Ge2eConfig(w=1.0, b=0.0), False).similarities(PLANE, PAIRS)
    assert similarities[0, own[0]].item() == pytest.approx(0, abs=1e-6)
    # Nor does its own length count: the centroid is one of directions.
    longer = PLANE * torch.tensor([[9.0], [1.0], [1.0], [1.0]])
    torch.testing.assert_close(
        Ge2e(Ge2eConfig(w=1.0, b=0.0), False).similarities(longer, PAIRS)[0], similarities
    )


@pytest.mark.parametrize("contrast", [False, True])
def test_trap_negatives_below_zero_have_a_gradient(contrast):
    """A clamp of cosines at 1e-6 leaves none.

    Turning one infant's cries together changes no cosine within an infant: what gradient the angle
    has is that of the negatives, whose cosines are all below zero here.
    """
    angle = torch.tensor(0.0, requires_grad=True)
    turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).reshape(2, 2)
    embeddings = torch.cat(
        [
            torch.tensor([[1.0, 0.1], [1.0, 0.2]]),
            torch.tensor([[-1.0, 0.8], [-1.0, 0.9]]) @ turn,
        ]
    )
    loss = Ge2e(Ge2eConfig(w=2.0, b=-1.0), contrast)
    similarities, own = loss.similarities(embeddings, PAIRS)
    assert (similarities.gather(1, 1 - own[:, None]) < loss.b).all()
    (gradient,) = torch.autograd.grad(loss(embeddings, PAIRS), angle)
    assert gradient.abs() > 0.05


@pytest.mark.parametrize("contrast", [False, True])
def test_trap_w_stays_above_zero_truly(contrast):
    """Embeddings that are best told apart by a negative w, and an optimiser that wants it.

    ``torch.clamp(self.w)`` alone, without keeping its result, lets w cross zero here.
    """
    embeddings = torch.tensor([EAST, WEST, NORTH, [0.0, -1.0]])
    loss = Ge2e(Ge2eConfig(w=0.5, b=0.0), contrast)
    optimiser = torch.optim.SGD(loss.parameters(), lr=50.0)
    seen = []
    for _ in range(100):
        optimiser.zero_grad()
        loss(embeddings, PAIRS).backward()
        optimiser.step()
        seen.append(loss.w.item())
    assert min(seen) >= MIN_W
    assert seen[-1] < 0.1  # it was pushed
    with torch.no_grad():
        loss.raw_w.fill_(-1e4)
    assert loss.w.item() >= MIN_W and loss.w.isfinite()


def test_w_and_b_learn():
    embeddings, labels = batch(0)
    loss = Ge2e(Ge2eConfig(), contrast=False)
    loss(embeddings, labels).backward()
    assert loss.raw_w.grad.abs() > 1e-4
    # Softmax does not see b, contrast does.
    loss = Ge2e(Ge2eConfig(), contrast=True)
    loss(embeddings, labels).backward()
    assert loss.b.grad.abs() > 1e-6


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1]])
def test_ge2e_says_what_a_batch_needs(labels):
    with pytest.raises(ConfigError, match="two infants or more and two cries or more of each"):
        Ge2e(Ge2eConfig(), False)(PLANE, torch.tensor(labels))


# NT-Xent


def slow_ntxent(embeddings, labels, temperature, others_in=False) -> float:
    losses = []
    for i, p in itertools.permutations(range(len(labels)), 2):
        if labels[i] != labels[p]:
            continue
        own = math.exp(cosine(embeddings[i], embeddings[p]) / temperature)
        rest = [
            math.exp(cosine(embeddings[i], embeddings[k]) / temperature)
            for k in range(len(labels))
            if k not in (i, p) and (others_in or labels[k] != labels[i])
        ]
        losses.append(-math.log(own / (own + sum(rest))))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.05])
@pytest.mark.parametrize("counts", [(4, 4, 4), (2, 2), (2, 5, 1, 3)])
def test_ntxent_is_the_slow_reference(temperature, counts):
    embeddings, labels = batch(2, counts)
    found = NtXent(NtXentConfig(temperature=temperature))(embeddings, labels)
    expected = slow_ntxent(embeddings.double().numpy(), labels.tolist(), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_ntxent_of_two_views_is_simclrs():
    """Eq. 1 of Chen et al.: the denominator has every other view, those of the clip's own too."""
    embeddings, labels = batch(4, (12,))[0], torch.arange(6).repeat(2)
    vectors = embeddings.double().numpy()
    losses = []
    for i in range(12):
        exps = {k: math.exp(cosine(vectors[i], vectors[k]) / 0.1) for k in range(12) if k != i}
        losses.append(-math.log(exps[(i + 6) % 12] / sum(exps.values())))
    found = NtXent(NtXentConfig(temperature=0.1))(embeddings, labels)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_ntxent_by_hand():
    # East and north: cos 0 to each other, -1 and 0 to both wests; west and west: 1, and 2 others.
    t = 0.5
    expected = [
        math.log(1 + 2 * math.exp(-1 / t)),
        math.log(1 + 2),
        *[-1 / t + math.log(math.exp(1 / t) + math.exp(-1 / t) + 1)] * 2,
    ]
    found = NtXent(NtXentConfig(temperature=t))(PLANE, PAIRS)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_other_positives_stay_out_of_the_denominator():
    embeddings, labels = batch(3)
    found = NtXent(NtXentConfig())(embeddings, labels).item()
    inside = slow_ntxent(embeddings.double().numpy(), labels.tolist(), 0.1, others_in=True)
    assert found < inside - 0.05
    # Three cries in one place: with the others inside, the loss could not fall below log 2.
    together = torch.tensor([EAST] * 3 + [WEST] * 3)
    labels = torch.tensor([0] * 3 + [1] * 3)
    assert NtXent(NtXentConfig())(together, labels).item() < 1e-6


def test_ntxent_has_a_gradient_at_low_temperatures():
    """Where exp(s / t) of the positive underflows beside a negative's: -2 / t = -200 here."""
    embeddings = torch.tensor([EAST, [-1.0, 0.2], [1.0, 0.05], [1.0, -0.05]], requires_grad=True)
    loss = NtXent(NtXentConfig(temperature=0.01))(embeddings, PAIRS)
    loss.backward()
    assert loss.item() == pytest.approx(
        slow_ntxent(embeddings.detach().double().numpy(), PAIRS.tolist(), 0.01), rel=1e-4
    )
    assert embeddings.grad.isfinite().all() and embeddings.grad[1].norm() > 1


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_ntxent_says_what_a_batch_needs(labels):
    with pytest.raises(ConfigError, match="loss.ntxent: a batch needs two infants"):
        NtXent(NtXentConfig())(PLANE, torch.tensor(labels))
    with pytest.raises(ConfigError, match="temperature is 0: set it above 0"):
        NtXent(NtXentConfig(temperature=0.0))


# AAM-softmax


def slow_aam(embeddings, labels, weights, config: AamConfig) -> float:
    losses, n = [], len(weights)
    for embedding, label in zip(embeddings, labels, strict=True):
        logits = []
        for k, weight in enumerate(weights):
            angle = math.acos(max(-1.0, min(1.0, cosine(embedding, weight))))
            value = math.cos(angle)
            if k == label and angle + config.margin < math.pi:
                value = math.cos(angle + config.margin)
            elif k == label:  # beyond pi the cosine would rise again
                value -= config.margin * math.sin(config.margin)
            logits.append(config.scale * value)
        top = max(logits)
        whole = top + math.log(sum(math.exp(logit - top) for logit in logits))
        smooth = config.label_smoothing
        losses.append(
            whole - (1 - smooth) * logits[label] - smooth / n * sum(logits),
        )
    return float(np.mean(losses))


@pytest.mark.parametrize("config", [AamConfig(), AamConfig(margin=0.5, label_smoothing=0.0)])
def test_aam_is_the_slow_reference(config):
    torch.manual_seed(4)
    loss = Aam(config, n_infants=7, dim=6)
    embeddings, labels = torch.randn(12, 6), torch.arange(12) % 7
    with torch.no_grad():
        embeddings[3] = -loss.weight[labels[3]]  # 180 degrees: beyond pi with the margin
    expected = slow_aam(
        embeddings.double().numpy(), labels.tolist(), loss.weight.detach().double().numpy(), config
    )
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)


def test_aam_by_hand():
    loss = Aam(AamConfig(margin=0.2, scale=30.0, label_smoothing=0.1), n_infants=2, dim=2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))  # lengths do not count
    found = loss(torch.tensor([[3.0, 3.0]]), torch.tensor([1]))
    own, other = 30 * math.cos(math.pi / 4 + 0.2), 30 * math.cos(math.pi / 4)
    whole = math.log(math.exp(own) + math.exp(other))
    assert found.item() == pytest.approx(whole - 0.95 * own - 0.05 * other, rel=1e-5)


def test_aam_is_finite_on_its_weight_and_opposite_to_it():
    loss = Aam(AamConfig(), n_infants=3, dim=4)
    for sign in (1, -1):
        embeddings = (sign * loss.weight.detach()[:2]).requires_grad_()
        value = loss(embeddings, torch.tensor([0, 1]))
        value.backward()
        assert value.isfinite() and embeddings.grad.isfinite().all()
        assert loss.weight.grad.isfinite().all()


def test_aam_names_what_is_out_of_range():
    with pytest.raises(ConfigError, match="margin is 4 and label_smoothing 0.1"):
        Aam(AamConfig(margin=4.0), 3, 4)
    with pytest.raises(ConfigError, match="needs two infants or more, there is 1"):
        Aam(AamConfig(), 1, 4)


# The sum


@dataclass(frozen=True)
class Section:
    losses: dict[str, SpeakerLossConfig]


def test_a_section_of_the_parameters_gives_the_terms():
    node = OmegaConf.create(
        {"losses": {"both": {"ge2e_softmax": {"weight": 0.5}, "ntxent": None, "aam": {}}}}
    )
    config = typed(node, Section, "params.yaml: train_speaker").losses["both"]
    assert config == SpeakerLossConfig(ge2e_softmax=Ge2eConfig(weight=0.5), aam=AamConfig())
    node.losses.both.aam = {"margins": 0.3}
    with pytest.raises(ConfigError, match="train_speaker.*margins"):
        typed(node, Section, "params.yaml: train_speaker")


def test_the_sum_is_weighted_and_tells_its_terms():
    config = SpeakerLossConfig(
        Ge2eConfig(weight=0.5), Ge2eConfig(weight=2.0), NtXentConfig(weight=3.0), AamConfig()
    )
    torch.manual_seed(0)
    loss = SpeakerLoss(config, n_infants=9, dim=6)
    embeddings, labels = batch(5)
    found = loss(embeddings, labels)
    assert set(found.terms) == {"ge2e_softmax", "ge2e_contrast", "ntxent", "aam"}
    for name, value in found.terms.items():
        assert value.item() == pytest.approx(loss.terms[name](embeddings, labels).item())
        assert not value.requires_grad
    weights = {"ge2e_softmax": 0.5, "ge2e_contrast": 2.0, "ntxent": 3.0, "aam": 1.0}
    expected = sum(weights[name] * value.item() for name, value in found.terms.items())
    assert found.total.item() == pytest.approx(expected, rel=1e-6)
    found.total.backward()
    assert all(p.grad is not None for p in loss.parameters())


def test_a_sum_of_nothing_and_a_weight_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="no term is set; there are ge2e_softmax"):
        SpeakerLoss(SpeakerLossConfig(), 3, 4)
    with pytest.raises(ConfigError, match="loss.aam.weight is 0"):
        SpeakerLoss(SpeakerLossConfig(aam=AamConfig(weight=0.0)), 3, 4)
