"""Generated sounds: cries by a source-filter model, and what a nursery may be confused by.

All functions return float64 [samples] with a peak of at most 1 and take their own random generator,
so that a sound depends on its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

RATE_HZ = 22_050


@dataclass(frozen=True)
class Voice:
    """What stays the same in one infant's cries."""

    f0_hz: float  # centre of the pitch contour
    formants_hz: tuple[float, float, float]
    bandwidths_hz: tuple[float, float, float]
    breathiness: float  # noise in the source, 0..1
    jitter: float  # relative, of the pitch
    expiration_s: float  # mean length of a burst
    pause_s: float  # mean length between bursts


def infant_voice(rng: np.random.Generator) -> Voice:
    """A voice with a pitch of 350 to 600 Hz."""
    scale = rng.uniform(0.88, 1.15)  # of the vocal tract
    return Voice(
        f0_hz=rng.uniform(370, 540),
        formants_hz=(1050 * scale, 3000 * scale, 5000 * scale),
        bandwidths_hz=(180.0, 300.0, 500.0),
        breathiness=rng.uniform(0.02, 0.15),
        jitter=rng.uniform(0.003, 0.015),
        expiration_s=rng.uniform(0.7, 1.3),
        pause_s=rng.uniform(0.2, 0.45),
    )


def _resonance(freq_hz: np.ndarray, formants: tuple, bandwidths: tuple) -> np.ndarray:
    gain = np.zeros_like(freq_hz)
    for rank, (centre, width) in enumerate(zip(formants, bandwidths, strict=True)):
        gain += 0.7**rank / (1 + ((freq_hz - centre) / width) ** 2)
    return gain + 0.02


def _harmonics(f0_hz: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """A glottal source of pitch ``f0_hz`` [samples] through the voice's formants."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    count = max(1, min(24, int(0.45 * RATE_HZ / f0_hz.mean())))
    orders = np.arange(1, count + 1)
    gains = _resonance(orders * f0_hz.mean(), voice.formants_hz, voice.bandwidths_hz)
    gains /= orders**0.7
    sound = np.zeros_like(phase)
    for order, gain in zip(orders, gains, strict=True):
        sound += gain * np.sin(order * phase)
    noise = lfilter([1.0], [1.0, -0.6], rng.standard_normal(len(sound)))
    sound /= np.abs(sound).max() + 1e-12
    return sound + voice.breathiness * noise / (np.abs(noise).max() + 1e-12)


def _envelope(count: int, attack: float = 0.12, release: float = 0.25) -> np.ndarray:
    position = np.linspace(0, 1, count)
    return np.minimum(1, np.minimum(position / attack, (1 - position) / release)).clip(0)


def _bursts(seconds: float, on_s: float, off_s: float, rng: np.random.Generator, make):
    """Sounds of about ``on_s`` with pauses of about ``off_s``, each from ``make(samples)``."""
    out = np.zeros(round(seconds * RATE_HZ))
    position = round(rng.uniform(0, off_s) * RATE_HZ)
    while position < len(out):
        length = max(64, round(on_s * rng.uniform(0.75, 1.25) * RATE_HZ))
        burst = make(length)
        take = min(length, len(out) - position)
        out[position : position + take] += burst[:take]
        position += length + round(off_s * rng.uniform(0.7, 1.4) * RATE_HZ)
    return out


def cry(seconds: float, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Bursts of expiration with arched pitch contours, and pauses between them."""

    def expiration(length: int) -> np.ndarray:
        position = np.linspace(0, 1, length)
        arch = 1 + rng.uniform(0.08, 0.22) * np.sin(np.pi * position**0.7)
        slow = np.repeat(rng.standard_normal(length // 256 + 1), 256)[:length]
        drop = 1 - rng.uniform(0.05, 0.2) * position**3
        f0 = voice.f0_hz * rng.uniform(0.93, 1.08) * arch * drop * (1 + voice.jitter * slow)
        return _envelope(length) * _harmonics(np.clip(f0, 300, 700), voice, rng)

    return normalise(_bursts(seconds, voice.expiration_s, voice.pause_s, rng, expiration))


def laugh(seconds: float, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Short voiced bursts of an infant's voice, about four a second."""

    def syllable(length: int) -> np.ndarray:
        f0 = voice.f0_hz * rng.uniform(0.6, 0.9) * np.linspace(1.1, 0.8, length)
        return _envelope(length, 0.2, 0.5) * _harmonics(f0, voice, rng)

    return normalise(_bursts(seconds, 0.12, 0.14, rng, syllable))


def speech(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Syllables of an adult voice with formants that move from one to the next."""
    base = rng.uniform(95, 230)

    def syllable(length: int) -> np.ndarray:
        voice = Voice(
            base,
            (rng.uniform(300, 800), rng.uniform(900, 2300), rng.uniform(2300, 3200)),
            (90.0, 120.0, 200.0),
            0.05,
            0.01,
            0.2,
            0.08,
        )
        f0 = base * rng.uniform(0.9, 1.2) * np.linspace(1.05, 0.92, length)
        return _envelope(length) * _harmonics(f0, voice, rng)

    return normalise(_bursts(seconds, 0.2, 0.09, rng, syllable))


def animal(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Barks, crows or miaows: few short harmonic calls with a steep pitch contour."""
    centre = rng.uniform(280, 1100)
    length_s = rng.uniform(0.15, 0.7)
    slope = rng.uniform(-0.6, 0.5)
    voice = Voice(
        centre,
        (rng.uniform(600, 1500), rng.uniform(1600, 2600), rng.uniform(2800, 4500)),
        (300.0, 400.0, 600.0),
        rng.uniform(0.1, 0.5),
        0.02,
        length_s,
        1.0,
    )

    def call(length: int) -> np.ndarray:
        f0 = centre * (1 + slope * np.linspace(0, 1, length))
        return _envelope(length, 0.08, 0.4) * _harmonics(np.clip(f0, 80, 2500), voice, rng)

    return normalise(_bursts(seconds, length_s, rng.uniform(0.3, 1.5), rng, call))


def noise(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise with a slow swell: rain, waves, engines far away."""
    count = round(seconds * RATE_HZ)
    sound = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], rng.standard_normal(count))
    swell = 1 + rng.uniform(0, 0.8) * np.sin(
        2 * np.pi * rng.uniform(0.1, 0.6) * np.arange(count) / RATE_HZ + rng.uniform(0, 6)
    )
    return normalise(sound * swell)


def hum(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Motor or mains hum: steady harmonics of 50 to 180 Hz with some noise."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    base = rng.uniform(50, 180)
    sound = sum(
        rng.uniform(0.1, 1) / order * np.sin(2 * np.pi * base * order * time + rng.uniform(0, 6))
        for order in range(1, 15)
    )
    return normalise(sound + rng.uniform(0.05, 0.3) * rng.standard_normal(len(time)))


def ticks(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Clicks: a clock, crackling, drops."""
    count = round(seconds * RATE_HZ)
    impulses = (rng.random(count) < rng.uniform(1.5, 30) / RATE_HZ) * rng.uniform(0.3, 1, count)
    ring = np.exp(-np.arange(1200) / rng.uniform(20, 200)) * rng.standard_normal(1200)
    return normalise(np.convolve(impulses, ring)[:count] + 1e-3 * rng.standard_normal(count))


def quiet(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A silent room: faint noise."""
    return 10 ** rng.uniform(-3.5, -2.6) * noise(seconds, rng)


def normalise(sound: np.ndarray) -> np.ndarray:
    """``sound`` at a peak of 1 (silence stays silent)."""
    return sound / max(np.abs(sound).max(), 1e-9)


def room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The recording: a random level, a gentle filter and a noise floor, alike for every class."""
    floor = 10 ** rng.uniform(-3.2, -1.8) * noise(len(sound) / RATE_HZ, rng)[: len(sound)]
    filtered = lfilter([1.0, rng.uniform(-0.3, 0.3)], [1.0], sound)
    return 10 ** rng.uniform(-1.2, -0.05) * normalise(filtered + floor)
