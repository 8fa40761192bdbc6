"""One channel of several: what is loud in a channel is not silent, what is constant is."""

import numpy as np
import pytest
import soundfile

from crywatch.audio.decode import decode
from crywatch.audio.waves.downmix import Downmix, to_mono
from tests.helpers.container_cases import tone

RATE_HZ = 16_000


def noise(seconds, gain, seed=0):
    values = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (gain * values).astype(np.float32)


def rms(wave):
    return float(np.sqrt(np.mean(np.square(wave))))


@pytest.mark.parametrize("gain", [-1.0, -0.9, -1.1])
def test_channels_that_cancel_give_the_loudest(tmp_path, gain):
    wave = tone(4.0)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, gain * wave], axis=1), RATE_HZ)
    assert rms(decode(tmp_path / "a.wav").wave) == pytest.approx(
        rms(wave) * max(1, abs(gain)), rel=0.01
    )


def test_a_stretch_that_cancels_is_heard_and_the_rest_is_the_mean():
    left = np.concatenate([noise(2.0, 0.1), tone(2.0), noise(2.0, 0.1, 1)])
    right = np.concatenate([noise(2.0, 0.1, 2), -tone(2.0), noise(2.0, 0.1, 3)])
    mix = Downmix(RATE_HZ)
    blocks = np.split(np.stack([left, right]), 24, axis=1)
    wave = np.concatenate([out for block in blocks for out in mix(block)] + list(mix.rest()))
    mean = (left + right) / 2
    np.testing.assert_array_equal(wave[: 2 * RATE_HZ], mean[: 2 * RATE_HZ])
    np.testing.assert_array_equal(wave[4 * RATE_HZ :], mean[4 * RATE_HZ :])
    assert rms(wave[2 * RATE_HZ : 4 * RATE_HZ]) == pytest.approx(rms(tone(2.0)), rel=0.01)


@pytest.mark.parametrize("related", [1.0, 0.5, 0.0, -0.5])
def test_ordinary_stereo_is_the_mean_to_the_last_bit(tmp_path, related):
    left, other = noise(12.0, 0.1), noise(12.0, 0.1, 1)
    pair = np.stack([left, related * left + (1 - abs(related)) * other])
    soundfile.write(tmp_path / "a.wav", pair.T, RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "a.wav").wave, pair.mean(axis=0))


@pytest.mark.parametrize("value", [0.5, -0.3, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_value_that_is_stuck_is_silent(tmp_path, value, channels):
    wave = noise(6.0, 0.1)
    wave[2 * RATE_HZ : 4 * RATE_HZ] = value
    soundfile.write(tmp_path / "a.wav", np.stack([wave] * channels, axis=1), RATE_HZ)
    heard = decode(tmp_path / "a.wav").wave
    assert np.abs(heard[2 * RATE_HZ + 800 : 4 * RATE_HZ - 800]).max() == 0
    np.testing.assert_allclose(heard[: 2 * RATE_HZ - 800], wave[: 2 * RATE_HZ - 800], atol=1e-4)


@pytest.mark.parametrize("bias", [0.02, 0.3, -0.6])
def test_a_bias_is_no_sound(bias):
    """Before, in and after a cry of a recording that goes on for longer than is looked ahead."""
    quiet = noise(30.0, abs(bias) / 20)
    quiet[12 * RATE_HZ : 14 * RATE_HZ] += tone(2.0, gain=0.3)
    wave = to_mono((quiet + np.float32(bias))[None], RATE_HZ)
    np.testing.assert_allclose(wave, quiet, atol=abs(bias) / 20)


def test_an_offset_that_the_sound_drowns_stays_as_it_is():
    wave = noise(12.0, 0.2) + np.float32(0.02)
    np.testing.assert_array_equal(to_mono(wave[None], RATE_HZ), wave)


def test_slow_swings_are_no_bias():
    swing = tone(20.0, hz=0.7, gain=0.3)
    np.testing.assert_array_equal(to_mono(swing[None], RATE_HZ), swing)


def test_clipped_sound_is_no_stuck_value():
    wave = (tone(4.0, hz=60.0, gain=3.0)).clip(-1, 1)
    np.testing.assert_array_equal(to_mono(wave[None], RATE_HZ), wave)


def test_a_sound_in_memory_is_mixed_as_a_file_is():
    from crywatch.detection.detect import DetectConfig, detect_wave

    class Loudness:
        decision = None

        def score_stream(self, chunks):
            wave = np.concatenate(list(chunks))
            return np.abs(wave.reshape(-1, RATE_HZ)).max(axis=1)

    config = DetectConfig(model="", threshold=0.3, min_event_s=1.0, max_gap_s=1.0)
    wave = tone(3.0)
    pair = np.stack([wave, -wave], axis=1)
    assert len(detect_wave(pair, RATE_HZ, Loudness(), config).events) == 1
    assert not detect_wave(np.full(48_000, 0.9), RATE_HZ, Loudness(), config).events
