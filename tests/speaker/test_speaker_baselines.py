"""Baselines: statistics of spectra, a random network, and their common origin."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.speaker.baselines import (
    each,
    logmel_statistics,
    mfcc_statistics,
    random_network,
    standardised,
)
from tests.helpers.speaker_cases import generated_cries, noise


@pytest.mark.parametrize(("vector", "dim"), [(logmel_statistics, 128), (mfcc_statistics, 38)])
@pytest.mark.parametrize("n_samples", [0, 1, 399, 512, 16_000, 50_001])
def test_a_wave_of_any_length_gives_numbers(vector, dim, n_samples):
    found = vector(noise(n_samples))
    assert found.shape == (dim,) and found.dtype == np.float32 and np.isfinite(found).all()


@pytest.mark.parametrize(("vector", "half"), [(logmel_statistics, 64), (mfcc_statistics, 19)])
def test_a_steady_sound_has_no_deviation_and_a_change_has(vector, half):
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    steady = vector(tone)
    assert np.abs(steady[half:]).max() < 0.05
    changing = vector(np.concatenate([tone, noise(RATE_HZ)]))
    assert changing[half:].max() > 0.5


def test_logmel_statistics_are_those_of_the_embedder_over_the_whole_sound():
    from crywatch.detection.embedders import EmbedderConfig, build

    wave = noise(RATE_HZ)
    expected = build(EmbedderConfig("logmel", 128, "")).embed(wave)[0]
    np.testing.assert_array_equal(logmel_statistics(wave), expected)


def test_mfcc_statistics_do_not_know_the_level():
    wave = noise(RATE_HZ)
    np.testing.assert_allclose(mfcc_statistics(wave), mfcc_statistics(0.3 * wave), atol=1e-2)


def test_a_random_network_is_one_of_its_seed():
    waves = [noise(4000, 0), noise(4000, 1)]
    first, again, other = (random_network(8, seed)(waves) for seed in (0, 0, 1))
    assert first.shape == (2, 192)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2


def test_standardised_numbers_have_the_cohorts_origin_and_units():
    waves = [np.array([level, 5.0, level**2]) for level in (1.0, 2.0, 3.0, 6.0)]
    embed = standardised(each(lambda wave: wave), waves)
    found = embed(waves)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [1, 0, 1])
    # What never changed in the cohort says nothing elsewhere either.
    assert embed([np.array([1.0, 99.0, 1.0])])[0, 1] == 0


@pytest.mark.parametrize("vector", [logmel_statistics, mfcc_statistics])
def test_cosines_tell_infants_apart_once_standardised(vector):
    """Statistics point one way for all: their plain cosines lie close together."""
    cries = generated_cries(infants=5, sessions=2, of_session=2, seconds=1.2, seed=1)
    plain, centred = (
        embed(cries.waves) for embed in (each(vector), standardised(each(vector), cries.waves))
    )

    def cosines(rows):
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (units @ units.T)[np.triu_indices(len(units), 1)]

    assert np.median(cosines(plain)) > 0.6 and abs(np.median(cosines(centred))) < 0.3
    owner = np.array([ref.infant_id for ref in cries.refs])
    same = (owner[:, None] == owner)[np.triu_indices(len(owner), 1)]
    assert cosines(centred)[same].mean() > cosines(centred)[~same].mean() + 0.1
