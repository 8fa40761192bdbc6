"""Generated sounds: cries by a source-filter model, and what a nursery may be confused by.

All functions return float64 [samples] with a peak of at most 1 and take their own random generator,
so that a sound depends on its seed alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from crywatch.corpora.generate.filters import lfilter

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


def sine(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of ``turns`` of a circle, to 1e-6.

    By sums, products and roots alone: NumPy's own differ in the last digits from processor to
    processor.
    """
    half = np.pi * (turns - np.rint(turns))  # half of the angle, within a quarter of a circle
    square = half * half
    sin = np.full_like(half, SERIES[-1])
    for factor in SERIES[-2::-1]:
        sin *= square
        sin += factor
    sin *= half
    square = np.minimum(sin * sin, 1.0)
    return 2 * sin * np.sqrt(1 - square), 1 - 2 * square


SERIES = [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)]


def _overtones(cycles: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Sines of 1, 2, ... times ``cycles``, in turns, by ``gains`` (Clenshaw's recurrence)."""
    sin, cos = sine(cycles)
    cos *= 2
    last, before = np.full_like(sin, gains[-1]), np.zeros_like(sin)
    step = np.empty_like(sin)
    for gain in gains[-2::-1]:
        np.multiply(cos, last, out=step)
        step -= before
        step += gain
        last, before, step = step, last, before
    return last * sin


def _harmonics(f0_hz: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """A glottal source of pitch ``f0_hz`` [samples] through the voice's formants."""
    count = max(1, min(24, int(0.45 * RATE_HZ / f0_hz.mean())))
    orders = np.arange(1, count + 1)
    gains = _resonance(orders * f0_hz.mean(), voice.formants_hz, voice.bandwidths_hz)
    gains /= np.sqrt(orders * np.sqrt(orders))
    sound = _overtones(np.cumsum(f0_hz) / RATE_HZ, gains)
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
        return _expiration(length, voice, rng, 300.0, 700.0)

    return normalise(_bursts(seconds, voice.expiration_s, voice.pause_s, rng, expiration))


def _expiration(
    length: int, voice: Voice, rng: np.random.Generator, lowest_hz: float, highest_hz: float
) -> np.ndarray:
    position = np.linspace(0, 1, length)
    early = position * (1.55 - 0.55 * position)  # the arch is highest before the middle
    arch = 1 + rng.uniform(0.32, 0.88) * early * (1 - early)
    slow = np.repeat(rng.standard_normal(length // 256 + 1), 256)[:length]
    drop = 1 - rng.uniform(0.05, 0.2) * position * position * position
    f0 = voice.f0_hz * rng.uniform(0.93, 1.08) * arch * drop * (1 + voice.jitter * slow)
    return _envelope(length) * _harmonics(np.clip(f0, lowest_hz, highest_hz), voice, rng)


# What an infant's cry is at a time: pitch, noise added to the source, length of a burst and of a
# pause as shares of the voice's, and how many bursts break (their pitch jumps on the way).
MANNERS = {
    "plain": (1.0, 0.0, 1.0, 1.0, 0.1),
    "shrill": (1.9, 0.05, 0.9, 0.8, 0.3),
    "hoarse": (0.95, 0.6, 1.0, 1.0, 0.3),
    "whimper": (0.7, 0.15, 0.4, 1.6, 0.0),
    "fitful": (1.1, 0.2, 0.8, 3.0, 0.5),
}


def varied_cry(seconds: float, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """A cry in one of `MANNERS`: shrill, hoarse, a whimper, with breaks of the pitch."""
    pitch, hoarse, length, pause, breaks = MANNERS[list(MANNERS)[rng.integers(len(MANNERS))]]
    today = replace(
        voice, f0_hz=voice.f0_hz * pitch, breathiness=min(voice.breathiness + hoarse, 1.0)
    )

    def expiration(count: int) -> np.ndarray:
        burst = _expiration(count, today, rng, 200.0, 1400.0)
        if rng.random() < breaks:
            at = round(count * rng.uniform(0.3, 0.7))
            jumped = replace(today, f0_hz=today.f0_hz * rng.choice([0.5, 1.5, 2.0]))
            burst[at:] = _expiration(count, jumped, rng, 200.0, 1400.0)[at:]
        return burst * rng.uniform(0.3, 1.0)

    on_s, off_s = voice.expiration_s * length, voice.pause_s * pause
    return normalise(_bursts(seconds, on_s, off_s, rng, expiration))


def meow(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A cat: calls as long and as high as a cry's, through a mouth that opens and closes."""
    f0_hz, scale = rng.uniform(380, 760), rng.uniform(0.9, 1.25)
    voice = Voice(
        f0_hz,
        (1050 * scale, 2600 * scale, 4700 * scale),
        (200.0, 320.0, 500.0),
        rng.uniform(0.03, 0.25),
        rng.uniform(0.002, 0.01),
        rng.uniform(0.45, 1.1),
        rng.uniform(0.4, 1.6),
    )

    def call(length: int) -> np.ndarray:
        position = np.linspace(0, 1, length)
        rise = 1 + rng.uniform(0.1, 0.35) * sine(position / 2)[0] - rng.uniform(0, 0.2) * position
        closed = replace(voice, formants_hz=(500 * scale, 1900 * scale, 4200 * scale))
        opening = sine(position / 2)[0]
        pitch = f0_hz * rng.uniform(0.9, 1.1) * rise
        opened = opening * _harmonics(pitch, voice, rng)
        return _envelope(length, 0.2, 0.35) * (
            opened + (1 - opening) * _harmonics(pitch, closed, rng)
        )

    return normalise(_bursts(seconds, voice.expiration_s, voice.pause_s, rng, call))


def toddler(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A small child that babbles and whines: syllables near a cry's pitch, some drawn out."""
    base, scale = rng.uniform(290, 460), rng.uniform(0.75, 1.0)

    def syllable(length: int) -> np.ndarray:
        voice = Voice(
            base,
            (rng.uniform(500, 1150) * scale, rng.uniform(1500, 3200) * scale, 4400 * scale),
            (150.0, 250.0, 450.0),
            rng.uniform(0.03, 0.2),
            0.01,
            0.0,
            0.0,
        )
        voiced = max(64, round(length * rng.choice([0.5, 0.7, 1.0])))
        f0 = base * rng.uniform(0.85, 1.3) * np.linspace(rng.uniform(0.85, 1.15), 0.9, voiced)
        sound = rng.uniform(0.4, 1) * _envelope(voiced) * _harmonics(f0, voice, rng)
        return np.pad(sound, (0, length - voiced))

    return normalise(_bursts(seconds, rng.uniform(0.3, 0.75), 0.18, rng, syllable))


def siren(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A siren or an alarm: harmonics that sweep up and down without a pause."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    low_hz, width = rng.uniform(380, 700), rng.uniform(0.2, 1.0)
    sweep = 0.5 + 0.5 * sine(time * rng.choice([0.15, 0.4, 1.0, 2.5]) + rng.random())[0]
    formant = rng.uniform(700, 1600)
    voice = Voice(low_hz, (formant, 2.7 * formant, 4800.0), (350.0, 500.0, 700.0), 0.05, 0, 0, 0)
    return normalise(_harmonics(low_hz * (1 + width * sweep), voice, rng))


def laugh(seconds: float, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Short voiced bursts of an infant's voice, two to four a second."""

    def syllable(length: int) -> np.ndarray:
        f0 = voice.f0_hz * rng.uniform(0.7, 1.1) * np.linspace(1.1, 0.8, length)
        return _envelope(length, 0.2, 0.5) * _harmonics(f0, voice, rng)

    return normalise(_bursts(seconds, rng.uniform(0.1, 0.3), 0.14, rng, syllable))


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
    turns = rng.uniform(0.1, 0.6) * np.arange(count) / RATE_HZ + rng.random()
    return normalise(sound * (1 + rng.uniform(0, 0.8) * sine(turns)[0]))


def hum(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Motor or mains hum: steady harmonics of 50 to 180 Hz with some noise."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    base = rng.uniform(50, 180)
    sound = _overtones(base * time, rng.uniform(0.1, 1, 14) / np.arange(1, 15))
    return normalise(sound + rng.uniform(0.05, 0.3) * rng.standard_normal(len(time)))


def ticks(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Clicks: a clock, crackling, drops."""
    count = round(seconds * RATE_HZ)
    decay = lfilter([1.0], [1.0, 1 / rng.uniform(20, 200) - 1], np.eye(1, 1200)[0])
    ring = decay * rng.standard_normal(1200)
    sound = 1e-3 * rng.standard_normal(count + len(ring))
    for at in rng.integers(count, size=rng.poisson(seconds * rng.uniform(1.5, 30))):
        sound[at : at + len(ring)] += rng.uniform(0.3, 1) * ring
    return normalise(sound[:count])


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


ECHOES = 24
FAR = 0.4  # share of the scenes
NOISY = 0.5


def scene(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A recording of everyday: at times from the next room, at times over other sounds.

    Alike for every class. Of a distant sound echoes over half a second are left, without treble.
    """
    if rng.random() < FAR:
        delays = rng.integers(RATE_HZ // 100, RATE_HZ // 2, ECHOES)
        gains = rng.standard_normal(ECHOES) * (1 - delays / (RATE_HZ / 2)) ** 2
        wet = rng.uniform(0.3, 1.0) * sound
        for delay, gain in zip(delays, gains, strict=True):
            wet[delay:] += 0.5 * gain * sound[:-delay]
        sound = lfilter([1.0], [1.0, -rng.uniform(0.5, 0.85)], wet)
    if rng.random() < NOISY:
        makers = (noise, noise, hum, speech, ticks)
        other = makers[rng.integers(len(makers))](len(sound) / RATE_HZ, rng)[: len(sound)]
        loud = np.sqrt(np.mean(sound * sound) / max(np.mean(other * other), 1e-12))
        sound = sound + other * loud * 10 ** rng.uniform(-0.8, 0.2)
    return room(normalise(sound), rng)
