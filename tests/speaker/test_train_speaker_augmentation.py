"""Rooms, noise and bands: what they do to a sound, and that they follow from seed and batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError
from crywatch.speaker.ecapa import EcapaConfig, build
from crywatch.speaker.train_speaker.augmentation import (
    CropAugmentation,
    CropAugmentationConfig,
    CropBandConfig,
    CropNoiseConfig,
    CropRoomConfig,
    limit_band,
    make_noise,
)
from tests.helpers.speaker_cases import noise

ALL = CropAugmentationConfig(
    CropRoomConfig(1.0, 0.2, 0.4, 0.0, 10.0),
    CropNoiseConfig(1.0, 5.0, 20.0),
    CropBandConfig(1.0, 3000.0, 4000.0),
)
WAVES = np.stack([noise(RATE_HZ, seed) for seed in range(6)])


def above(wave: np.ndarray, edge_hz: float) -> float:
    """Share of the power above a frequency."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float(power[np.fft.rfftfreq(len(wave), 1 / RATE_HZ) > edge_hz].sum() / power.sum())


def test_a_batch_is_a_function_of_seed_epoch_and_number():
    before = WAVES.copy()
    first = CropAugmentation(ALL, 1).batch(WAVES, 2, 3)
    assert first.shape == WAVES.shape and first.dtype == np.float32
    assert np.array_equal(WAVES, before)
    assert np.array_equal(first, CropAugmentation(ALL, 1).batch(WAVES, 2, 3))
    for seed, epoch, number in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.allclose(first, CropAugmentation(ALL, seed).batch(WAVES, epoch, number))
    # A row's draw does not hang on the others of the batch, but two rows have two draws.
    assert np.array_equal(first[:2], CropAugmentation(ALL, 1).batch(WAVES[:2], 2, 3))
    same = CropAugmentation(ALL, 1).batch(np.stack([WAVES[0]] * 2), 2, 3)
    assert not np.allclose(same[0], same[1])


def test_without_any_nothing_changes():
    assert np.array_equal(CropAugmentation(CropAugmentationConfig(), 1).batch(WAVES, 0, 0), WAVES)
    never = CropAugmentationConfig(noise=CropNoiseConfig(0.0, 5.0, 20.0))
    assert np.array_equal(CropAugmentation(never, 1).batch(WAVES, 0, 0), WAVES)


def test_the_share_is_of_the_crops():
    half = CropAugmentation(CropAugmentationConfig(noise=CropNoiseConfig(0.3, 0.0, 1.0)), 1)
    waves = np.stack([noise(800, seed) for seed in range(400)])
    changed = (half.batch(waves, 0, 0) != waves).any(axis=1).mean()
    assert 0.22 < changed < 0.38


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_lies_as_far_below_as_it_says(snr_db):
    changed = CropAugmentation(
        CropAugmentationConfig(noise=CropNoiseConfig(1.0, snr_db, snr_db)), 1
    )
    added = changed.batch(WAVES, 0, 0) - WAVES
    powers = (WAVES**2).mean(axis=1) / (added**2).mean(axis=1)
    np.testing.assert_allclose(10 * np.log10(powers), snr_db, atol=0.1)


def test_noise_falls_with_frequency_as_its_exponent_says():
    rng = np.random.default_rng(0)
    for exponent in (0.0, 2.0):
        made = make_noise(16 * RATE_HZ, exponent, rng)
        assert np.mean(made**2) == pytest.approx(1)
        power = np.abs(np.fft.rfft(made)) ** 2
        freqs = np.fft.rfftfreq(len(made), 1 / RATE_HZ)
        octaves = [power[(freqs > f) & (freqs <= 1.1 * f)].mean() for f in (500, 4000)]
        assert octaves[0] / octaves[1] == pytest.approx(8**exponent, rel=0.2)


def test_a_band_ends_at_its_edge():
    wave = noise(4 * RATE_HZ)
    cut = limit_band(wave, 3500.0)
    assert above(cut, 3700.0) < 1e-20
    kept = np.fft.rfftfreq(len(wave), 1 / RATE_HZ) <= 3500
    np.testing.assert_allclose(np.fft.rfft(cut)[kept], np.fft.rfft(wave)[kept], atol=1e-6)
    banded = CropAugmentation(CropAugmentationConfig(band=CropBandConfig(1.0, 3000.0, 4000.0)), 1)
    assert max(above(wave, 4300.0) for wave in banded.batch(WAVES, 0, 0)) < 1e-6


def test_a_room_adds_a_tail_and_keeps_the_onset():
    click = np.zeros((1, RATE_HZ), dtype=np.float32)
    click[0, 1000] = 1.0
    wet = CropAugmentation(CropAugmentationConfig(room=CropRoomConfig(1.0, 0.3, 0.3, 6.0, 6.0)), 1)
    [heard] = wet.batch(click, 0, 0)
    assert np.abs(heard[:999]).max() < 1e-6
    assert heard[1000] == pytest.approx(1)
    tail = (heard[1001:].astype(float) ** 2).sum()
    assert -10 * np.log10(tail) == pytest.approx(6, abs=0.1)
    assert np.abs(heard[1000 + round(0.35 * RATE_HZ) :]).max() < 1e-6


def test_a_gain_is_not_there_because_the_network_cannot_hear_it():
    ecapa = build(EcapaConfig("random", 16, []), 0).eval()
    with torch.inference_mode():
        loud, soft = (ecapa(torch.from_numpy(gain * WAVES[:1])) for gain in (1.0, 0.05))
    torch.testing.assert_close(loud, soft, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            CropAugmentationConfig(noise=CropNoiseConfig(1.5, 0.0, 1.0)),
            r"augmentation\.noise\.share is 1.5",
        ),
        (
            CropAugmentationConfig(noise=CropNoiseConfig(0.5, 9.0, 1.0)),
            "min_snr_db is 9 and max_snr_db 1",
        ),
        (
            CropAugmentationConfig(room=CropRoomConfig(0.5, 0.0, 1.0, 0, 1)),
            "0 < min_rt60_s <= max_rt60_s",
        ),
        (CropAugmentationConfig(room=CropRoomConfig(0.5, 0.1, 0.2, 3, 1)), "min_direct_db is 3"),
        (CropAugmentationConfig(band=CropBandConfig(0.5, 0.0, 1.0)), "0 < min_hz <= max_hz"),
    ],
)
def test_what_cannot_be_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        CropAugmentation(config, 1)
