"""Log-mel statistics as vectors of cries: units, their model folder, and how it is opened."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.core.errors import ModelError
from crywatch.core.models import ModelFolder, load, save
from crywatch.speaker import ecapa
from crywatch.speaker.baselines import logmel_statistics
from crywatch.speaker.logmel import LogMelStatistics, from_model, open_network, to_model
from tests.helpers.speaker_cases import lively, noise

SOUNDS = [(1 + seed) * noise(16_000, seed) for seed in range(5)]


def test_vectors_are_in_the_units_of_the_training_sounds_and_of_length_one():
    plain = np.stack([logmel_statistics(sound) for sound in SOUNDS]).astype(float)
    expected = (plain - plain.mean(axis=0)) / plain.std(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = LogMelStatistics.of(SOUNDS).embed(SOUNDS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_folder_keeps_the_statistics_also_of_a_number_that_never_changes(tmp_path):
    mean, deviation = np.arange(128.0), np.ones(128)
    deviation[3] = np.inf
    save(tmp_path, to_model(LogMelStatistics(mean, deviation), "logmel", ["toy"]))
    network = open_network(tmp_path)
    assert isinstance(network, LogMelStatistics) and load(tmp_path).setting("dim") == 128
    vectors = network.embed(SOUNDS)
    np.testing.assert_array_equal(vectors, LogMelStatistics(mean, deviation).embed(SOUNDS))
    assert not vectors[:, 3].any() and np.isfinite(vectors).all()


def test_a_network_is_opened_by_its_kind(tmp_path):
    save(tmp_path / "ge2e", ecapa.to_model(lively(), "ecapa ge2e"))
    assert isinstance(open_network(tmp_path / "ge2e"), ecapa.Ecapa)


def test_weights_of_another_size_are_no_statistics():
    model = to_model(LogMelStatistics(np.zeros(4), np.ones(4)), "logmel", ["toy"])
    damaged = ModelFolder(model.description | {"dim": 128}, model.weights)
    with pytest.raises(ModelError, match="are no statistics"):
        from_model(damaged)
