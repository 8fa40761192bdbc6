"""The batched autoencoders are what one plain network at a time would be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from crywatch.core.errors import ConfigError, ModelError
from crywatch.infants.models.autoencoder import Autoencoder
from crywatch.infants.models.contract import held_out
from tests.helpers import infants_cases as cases

WIDTHS = [192, 128, 64, 32, 64, 128, 192]


def plain_network(arrays) -> torch.nn.Sequential:
    """The layers of the slides as torch has them."""
    layers: list[torch.nn.Module] = []
    for number, (n_in, n_out) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True)):
        linear = torch.nn.Linear(n_in, n_out)
        linear.weight.data = torch.from_numpy(arrays[f"weight{number}"].T.copy())
        linear.bias.data = torch.from_numpy(arrays[f"bias{number}"].copy())
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def initial(model: Autoencoder) -> dict[str, np.ndarray]:
    layers = [layer.numpy() for layer in model._initial(192)]
    weights = {f"weight{n}": layer for n, layer in enumerate(layers[::2])}
    return weights | {f"bias{n}": layer[0] for n, layer in enumerate(layers[1::2])}


def test_layers_are_those_of_the_slides():
    baby = cases.infants(1, 8)[0]
    fitted = Autoencoder(cases.autoencoder(steps=1), seed=1).fit([baby])[0]
    shapes = {name: array.shape for name, array in fitted.items() if name != "steps"}
    assert len(shapes) == 12
    for number, (n_in, n_out) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True)):
        assert shapes[f"weight{number}"] == (n_in, n_out)
        assert shapes[f"bias{number}"] == (n_out,)


def test_the_score_is_the_mean_squared_error_of_a_plain_network():
    model = Autoencoder(cases.autoencoder(steps=30), seed=1)
    babies = cases.infants(3, (5, 20))
    new = [baby.vectors for baby in cases.infants(3, (2, 6), seed=3)]
    fitted = model.fit(babies)
    for arrays, clips, ours in zip(fitted, new, model.score(fitted, new), strict=True):
        scaled = torch.from_numpy(clips) * 192**0.5
        with torch.no_grad():
            made = plain_network(arrays)(scaled)
        wanted = (made - scaled).square().mean(dim=1) / 192
        np.testing.assert_allclose(ours, wanted, rtol=1e-4)


def test_training_is_that_of_a_plain_loop_with_early_stopping(one_thread):
    config = cases.autoencoder(steps=60, check_every=5, patience=2, lr=3e-3)
    model = Autoencoder(config, seed=2)
    babies = cases.infants(6, (6, 22), session_clips=3, spread=0.5)
    for baby, ours in zip(babies, model.fit(babies), strict=True):
        mask = held_out(baby.sessions, config.held_out)
        scaled = torch.from_numpy(baby.vectors) * 192**0.5
        network = plain_network(initial(model))
        adam = torch.optim.Adam(network.parameters(), lr=config.lr)
        best, best_step, waited, kept = np.inf, 0, 0, None
        for step in range(1, config.steps + 1):
            adam.zero_grad()
            (network(scaled[~mask]) - scaled[~mask]).square().mean().backward()
            adam.step()
            if step % config.check_every == 0 and waited < config.patience:
                with torch.no_grad():
                    loss = (network(scaled[mask]) - scaled[mask]).square().mean().item()
                waited = 0 if loss < best else waited + 1
                if loss < best:
                    best, best_step = loss, step
                    kept = [p.detach().clone() for p in network.parameters()]
        assert ours["steps"][0] == best_step
        for number in range(6):
            weight, bias = kept[2 * number], kept[2 * number + 1]
            np.testing.assert_allclose(ours[f"weight{number}"].T, weight, atol=2e-4)
            np.testing.assert_allclose(ours[f"bias{number}"], bias, atol=2e-4)


def test_infants_stop_by_themselves():
    config = cases.autoencoder(steps=200, check_every=5, patience=2)
    easy = cases.infants(4, 40, spread=0.1, seed=1)
    hard = cases.infants(4, 40, spread=3.0, seed=1, prefix="hard")
    steps = [int(a["steps"][0]) for a in Autoencoder(config, 1).fit(easy + hard)]
    assert min(steps[:4]) > max(steps[4:]) > 0


def test_too_few_clips_to_hold_any_out_take_all_steps():
    fitted = Autoencoder(cases.autoencoder(steps=7), seed=1).fit(cases.infants(1, 1))
    assert fitted[0]["steps"][0] == 7


def test_another_seed_gives_another_network():
    baby = cases.infants(1, 9)
    first, second = (Autoencoder(cases.autoencoder(steps=3), seed).fit(baby)[0] for seed in (1, 2))
    assert np.abs(first["weight0"] - second["weight0"]).max() > 0.01


def test_layers_are_those_that_are_narrower_than_the_vectors():
    model = Autoencoder(cases.autoencoder(steps=3), 1)
    for dim, between in ((192, [128, 64, 32, 64, 128]), (128, [64, 32, 64])):
        (fitted,) = model.fit(cases.infants(1, 4, dim=dim))
        shapes = [fitted[f"weight{layer}"].shape for layer in range(len(between) + 1)]
        assert shapes == list(pairwise([dim, *between, dim])) and len(fitted) == 2 * len(shapes) + 1
        assert model.score([fitted], [np.zeros((2, dim), np.float32)])[0].shape == (2,)


def test_wrong_widths_are_named():
    model = Autoencoder(cases.autoencoder(), 1)
    with pytest.raises(ModelError, match=r"8 \(infant infant0000\) .*above the last .*\(32\)"):
        model.fit(cases.infants(1, 4, dim=8))
    with pytest.raises(ModelError, match="all must be of one length"):
        model.fit([*cases.infants(1, 4, dim=64), *cases.infants(1, 4, dim=128)])
    with pytest.raises(ConfigError, match="autoencoder: widths"):
        cases.autoencoder(widths=[192])
