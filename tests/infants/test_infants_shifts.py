"""Pitch, formants, duration and breath really move by what is said, and the level stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from crywatch.audio import envelope
from crywatch.core.errors import AudioError, ConfigError
from crywatch.infants import shifts
from crywatch.infants.shifts import Shift

RATE_HZ = 16_000
FORMANTS_HZ = (1100.0, 2800.0, 5000.0)
WIDTHS_HZ = (250.0, 350.0, 500.0)
EVERY = [
    Shift("pitch", 1.2),
    Shift("formants", 1.15),
    Shift("duration", 1.5),
    Shift("breath", 6.0),
    Shift("noise", 20.0),
    Shift("return", 1.2),
]


def cry(low_hz=380.0, high_hz=480.0, tract=1.0, seconds=1.5) -> np.ndarray:
    """A voice that sweeps between two pitches, so that its harmonics show the whole envelope."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swing = np.cos(2 * np.pi * 2 * time / seconds)
    f0_hz = np.exp(np.interp(swing, [-1, 1], np.log([low_hz, high_hz])))
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    wave = np.zeros(len(time))
    for harmonic in range(1, 30):
        at_hz = harmonic * f0_hz
        gain = 0.01 + sum(
            0.7**rank / (1 + ((at_hz / tract - centre) / width) ** 2)
            for rank, (centre, width) in enumerate(zip(FORMANTS_HZ, WIDTHS_HZ, strict=True))
        )
        wave += np.where(at_hz < 7600, gain, 0) * np.sin(harmonic * phase)
    wave *= 0.3 / np.abs(wave).max()
    return (wave + 1e-4 * np.random.default_rng(0).standard_normal(len(wave))).astype(np.float32)


def pitch_hz(wave) -> float:
    import librosa

    # Not the method that the shifts use themselves.
    found, _, _ = librosa.pyin(wave, fmin=200, fmax=900, sr=RATE_HZ, frame_length=1024)
    return float(np.nanmedian(found))


def formants_hz(wave) -> np.ndarray:
    """Centres of the two lower formants in the long-term spectrum."""
    import librosa

    power = np.square(np.abs(librosa.stft(wave, n_fft=1024, hop_length=128))).mean(axis=1)
    window = np.hanning(27)
    power = np.convolve(power, window / window.sum(), "same")
    at_hz = np.arange(len(power)) * RATE_HZ / 1024
    centres = []
    for low, high in ((600, 1900), (1900, 3900)):
        inside = (at_hz >= low) & (at_hz <= high)
        weight = power[inside] ** 2
        centres.append(float(at_hz[inside] @ weight / weight.sum()))
    return np.array(centres)


def noise_db(wave) -> float:
    """Power between the harmonics, against that on them, of a voice of steady 400 Hz."""
    spectrum = np.square(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))))
    at_hz = np.fft.rfftfreq(len(wave), 1 / RATE_HZ)
    inside = (at_hz > 300) & (at_hz < 7000)
    off = np.abs((at_hz + 200) % 400 - 200) > 40
    return float(10 * np.log10(spectrum[inside & off].sum() / spectrum[inside & ~off].sum()))


def level(wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=float))))


@pytest.fixture(scope="module")
def wave():
    return cry()


def made(shift, wave, seed=1):
    return shifts.apply(shift, wave, RATE_HZ, seed)


@pytest.mark.parametrize("ratio", [1.1, 1.2, 1.4, 0.8])
def test_pitch_moves_and_formants_stay(wave, ratio):
    moved = made(Shift("pitch", ratio), wave)
    assert pitch_hz(moved) / pitch_hz(wave) == pytest.approx(ratio, rel=0.015)
    # As the measure finds them in a voice of that pitch with the same tract.
    wanted = formants_hz(cry(380 * ratio, 480 * ratio))
    np.testing.assert_allclose(formants_hz(moved), wanted, rtol=0.06)
    assert len(moved) == len(wave)


@pytest.mark.parametrize("ratio", [1.15, 1.2, 0.85])
def test_formants_move_and_pitch_stays(wave, ratio):
    moved = made(Shift("formants", ratio), wave)
    np.testing.assert_allclose(formants_hz(moved), formants_hz(cry(tract=ratio)), rtol=0.06)
    assert abs(np.log(formants_hz(moved) / formants_hz(wave))).min() > 0.6 * abs(np.log(ratio))
    assert pitch_hz(moved) == pytest.approx(pitch_hz(wave), rel=0.01)
    assert len(moved) == len(wave)


@pytest.mark.parametrize("ratio", [1.5, 0.8])
def test_duration_moves_and_the_voice_stays(wave, ratio):
    moved = made(Shift("duration", ratio), wave)
    assert len(moved) == pytest.approx(ratio * len(wave), abs=1)
    assert pitch_hz(moved) == pytest.approx(pitch_hz(wave), rel=0.02)
    np.testing.assert_allclose(formants_hz(moved), formants_hz(wave), rtol=0.03)


def test_breath_is_in_the_voice_and_the_control_noise_is_in_the_room():
    steady = cry(400, 400)
    last = noise_db(steady)
    for amount in (12.0, 6.0, 0.0):
        breathy = made(Shift("breath", amount), steady)
        # Of its power 80 in 400 Hz fall onto harmonics.
        wanted = 10 ** (-amount / 10) * 0.8 / (1 + 0.2 * 10 ** (-amount / 10))
        assert noise_db(breathy) == pytest.approx(10 * np.log10(wanted), abs=1.0)
        assert noise_db(breathy) > last
        last = noise_db(breathy)
    # A pause: breath is silent with the voice, the room is not.
    pause = np.concatenate([steady, 1e-5 * steady, steady])
    inside = slice(len(steady) + 2000, 2 * len(steady) - 2000)
    breathy, roomy = made(Shift("breath", 6.0), pause), made(Shift("noise", 20.0), pause)
    assert level(breathy[inside]) < 1e-3 * level(breathy)
    assert level(roomy[inside]) == pytest.approx(0.1 * level(roomy) / 1.01**0.5, rel=0.05)


def test_the_controls_leave_the_voice_alone(wave):
    for shift in (Shift("noise", 20.0), Shift("return", 1.2)):
        assert shift.control
        moved = made(shift, wave)
        assert pitch_hz(moved) == pytest.approx(pitch_hz(wave), rel=0.01)
        np.testing.assert_allclose(formants_hz(moved), formants_hz(wave), rtol=0.04)
        assert len(moved) == len(wave) and not np.array_equal(moved, wave)


@pytest.mark.parametrize("shift", EVERY, ids=lambda shift: shift.name)
def test_the_level_stays_and_the_result_is_the_same_again(wave, shift):
    for gain in (1.0, 1e-3):
        moved = made(shift, gain * wave)
        assert moved.dtype == np.float32
        assert level(moved) == pytest.approx(gain * level(wave), rel=1e-4)
    assert np.array_equal(made(shift, wave), made(shift, wave))
    drawn = shift.kind in ("breath", "noise")
    assert np.array_equal(made(shift, wave, 1), made(shift, wave, 2)) != drawn


def test_different_clips_do_not_share_their_noise(wave):
    shift, other = Shift("noise", 0.0), np.float32(0.5) * wave
    first, second = made(shift, wave), made(shift, other)
    first, second = (part / level(part) for part in (first, second))
    assert level(first - second) > 0.5


def test_names_say_what_was_done():
    config = shifts.ShiftsConfig([1.1, 1.4], [0.85], [1.5], [6.0], [20.0], [1.2])
    listed = shifts.all_shifts(config)
    assert [shift.name for shift in listed] == [
        *("pitch +10 %", "pitch +40 %", "formants -15 %", "duration +50 %", "breath 6 dB"),
        *("noise 20 dB", "return +20 %"),
    ]
    assert [shift.control for shift in listed] == [False] * 5 + [True] * 2


def test_what_cannot_be_shifted_is_said():
    with pytest.raises(AudioError, match=r"0.05 s .* \(pitch \+20 %\)"):
        made(Shift("pitch", 1.2), cry(seconds=0.05))
    with pytest.raises(AudioError, match="silent"):
        made(Shift("noise", 20.0), np.zeros(RATE_HZ, dtype=np.float32))
    with pytest.raises(ConfigError, match="no kind 'colic'; there are pitch"):
        made(Shift("colic", 1.0), cry(seconds=0.3))
    with pytest.raises(ConfigError, match="between 0.25 and 4"):
        shifts.ShiftsConfig([10.0], [], [], [], [], [])


def test_short_and_hoarse_cries_give_finite_sound():
    rng = np.random.default_rng(0)
    for wave in (cry(seconds=0.11), rng.standard_normal(RATE_HZ).astype(np.float32)):
        for shift in EVERY:
            moved = made(shift, wave)
            assert np.isfinite(moved).all() and level(moved) > 0


def test_the_envelope_is_read_at_the_highest_value_of_every_band():
    """Against one frame after the other and one band after the other."""
    rng = np.random.default_rng(4)
    magnitude = np.abs(rng.standard_normal((257, 20))).astype(np.float32)
    magnitude[40:60, :3] = 0.5  # equal values: the lowest bin of them counts
    f0_hz = rng.uniform(150, 4000, 20)
    found = envelope.log_envelope(magnitude, f0_hz, RATE_HZ)
    logs = np.log(magnitude)
    for frame, step in enumerate(f0_hz * envelope.WINDOW / RATE_HZ):
        edges = [round((k + 0.5) * step) for k in range(int(257 // step) + 1)]
        edges = [*(edge for edge in edges if edge < 257), 257]
        peaks = [max(range(a, b), key=lambda n, x=frame: logs[n, x]) for a, b in pairwise(edges)]
        expected = np.interp(np.arange(257), peaks, logs[peaks, frame])
        np.testing.assert_allclose(found[:, frame], expected, rtol=1e-6)


def test_a_phone_is_one_device_for_all_and_a_control():
    steps = [{"band": {"low_hz": 200, "high_hz": 3300}}, {"gain": {"db": {"min": -9, "max": 0}}}]
    config = shifts.ShiftsConfig([], [], [], [], [], [], shifts.PhonesConfig([1, 2], steps))
    first, second = shifts.all_shifts(config)
    assert (first.name, second.name) == ("phone 1", "phone 2") and first.control
    wave, other = cry(seconds=0.5), cry(seconds=0.4)
    heard = made(first, wave)
    assert len(heard) == len(wave) and np.abs(heard - wave).max() > 0.01
    np.testing.assert_array_equal(heard, made(first, wave))
    level = np.sqrt(np.mean(np.square(heard))) / np.sqrt(np.mean(np.square(wave)))
    assert level == pytest.approx(1, abs=1e-3)  # as loud as before
    for sound in (wave, other):  # the treble is gone
        spectrum = np.abs(np.fft.rfft(made(first, sound)))
        hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
        assert (spectrum[hz > 6000] ** 2).sum() < 1e-3 * (spectrum**2).sum()
    wrong = shifts.ShiftsConfig([], [], [], [], [], [], shifts.PhonesConfig([1], [{"ring": {}}]))
    with pytest.raises(ConfigError, match=r"phone.*ring"):
        shifts.all_shifts(wrong)
