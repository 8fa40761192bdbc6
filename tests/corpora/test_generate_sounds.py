"""The generated sounds: equal on every processor, of one level, and as hard as they are meant."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.synthesis import infant_voice

OTHERS = {
    name: getattr(synthesis, name)
    for name in ["animal", "meow", "toddler", "siren", "noise", "hum", "ticks", "speech", "quiet"]
}
OF_INFANTS = {name: getattr(synthesis, name) for name in ("cry", "varied_cry", "laugh")}


def sound(name, seed=5, seconds=2.0):
    rng = np.random.default_rng([seed])
    if name in OTHERS:
        return synthesis.scene(OTHERS[name](seconds, rng), rng)
    return synthesis.scene(OF_INFANTS[name](seconds, infant_voice(rng), rng), rng)


def digest():
    made = [sound(name, seed) for name in (*OTHERS, *OF_INFANTS) for seed in range(3)]
    return hashlib.sha256(np.concatenate(made).tobytes()).hexdigest()


def test_sines_are_sines():
    turns = np.random.default_rng(0).uniform(-500, 500, 5000)
    sin, cos = synthesis.sine(turns)
    assert np.abs(sin - np.sin(2 * np.pi * turns)).max() < 1e-6
    assert np.abs(cos - np.cos(2 * np.pi * turns)).max() < 1e-6


@pytest.mark.parametrize("count", [1, 2, 24])
def test_overtones_are_a_sum_of_sines(count):
    turns = np.random.default_rng(1).uniform(0, 50, 5000)
    gains = np.random.default_rng(2).random(count)
    terms = [g * np.sin(2 * np.pi * n * turns) for n, g in enumerate(gains, start=1)]
    assert np.abs(synthesis._overtones(turns, gains) - sum(terms)).max() < 3e-5


@pytest.mark.parametrize("name", [*OTHERS, *OF_INFANTS])
def test_a_sound_is_as_long_as_asked_and_within_its_peak(name):
    for seed in range(8):
        wave = sound(name, seed)
        assert len(wave) == 2 * synthesis.RATE_HZ and wave.dtype == np.float64
        assert np.isfinite(wave).all() and 0.01 < np.abs(wave).max() <= 1
        np.testing.assert_array_equal(wave, sound(name, seed))
    assert not np.array_equal(sound(name, 0), sound(name, 1))


def test_equal_bytes_without_the_vector_units_of_this_processor():
    code = "from tests.corpora.test_generate_sounds import digest; print(digest())"
    found = np._core._multiarray_umath.__cpu_features__
    without = [f for f, here in found.items() if here and f not in _baseline()]
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(without)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == digest()


def _baseline():
    return {"BASELINE", *np._core._multiarray_umath.__cpu_baseline__}


def spectral_centroid_hz(wave):
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((power * np.fft.rfftfreq(len(wave), 1 / synthesis.RATE_HZ)).sum() / power.sum())


def test_confusers_lie_where_cries_do():
    """No single number of the spectrum tells them apart: the ranges overlap."""
    cries = [spectral_centroid_hz(sound("varied_cry", seed)) for seed in range(20)]
    for name in ("meow", "toddler", "siren"):
        others = [spectral_centroid_hz(sound(name, seed)) for seed in range(20)]
        assert np.quantile(cries, 0.1) < np.quantile(others, 0.9)
        assert np.quantile(others, 0.1) < np.quantile(cries, 0.9)
