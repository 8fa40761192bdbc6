"""Cries that are known to differ: shifts made from an infant's own recordings.

No corpus at hand has health labels, so what a model can notice is measured on changes that are
made: pitch with the formants where they were, formants with the pitch where it was, duration, and
breath in the voice. Controls must not alarm: noise of a room added to the cry, the same processing
there and back, which leaves nothing but its artefacts, and another phone in another room.

Pitch and duration are librosa's phase vocoder; formants are moved on the envelope over the
harmonics. The vocoder WORLD moves formants more exactly, but what it makes of an unchanged cry is
heard: on generated cries it alarmed 0.59 to 0.96 of the time, the control ``return`` 0.13 to 0.42.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from crywatch.audio import channels, envelope
from crywatch.audio.channels import Channel
from crywatch.audio.compiled import librosa
from crywatch.core.errors import AudioError, ConfigError

PITCH, FORMANTS, DURATION, BREATH = "pitch", "formants", "duration", "breath"
NOISE, RETURN, PHONE = "noise", "return", "phone"
CONTROLS = (NOISE, RETURN, PHONE)
LEAST_S = 0.1  # of sound
_N_FFT, _HOP = 1024, 256  # samples, of the vocoder
_LARGEST_GAIN = 3.5  # nats, 30 dB: more would raise what is only noise


@dataclass
class PhonesConfig:
    """Section ``phone``: devices that recordings are tried through."""

    numbers: list[int] = field(default_factory=list)  # one device each, drawn by its number
    steps: list[Any] = field(default_factory=list)  # of the channel, as in section ``channels``


@dataclass
class ShiftsConfig:
    """Section ``shifts``: amounts of each kind; an empty list leaves the kind out."""

    pitch: list[float]  # ratios, 1.1 is 10 % up
    formants: list[float]  # ratios
    duration: list[float]  # ratios, 1.5 is half as long again
    breath_db: list[float]  # level of the cry over that of its breath
    noise_db: list[float]  # control: level of the cry over that of the room
    back: list[float]  # control: ratios of pitch, taken back again
    phone: PhonesConfig = field(default_factory=PhonesConfig)  # control

    def __post_init__(self) -> None:
        ratios = [*self.pitch, *self.formants, *self.duration, *self.back]
        if any(not 0.25 <= ratio <= 4 for ratio in ratios):
            raise ConfigError(f"shifts: the ratios {ratios} must be between 0.25 and 4")


@dataclass(frozen=True)
class Shift:
    """One change."""

    kind: str
    amount: float  # a ratio, decibels, or the number of a phone
    channel: Channel | None = None  # of a phone

    @property
    def name(self) -> str:
        """Such as ``pitch +10 %`` or ``noise 20 dB``."""
        if self.kind in (NOISE, BREATH):
            return f"{self.kind} {self.amount:g} dB"
        if self.kind == PHONE:
            return f"{self.kind} {self.amount:g}"
        return f"{self.kind} {100 * (self.amount - 1):+.3g} %"

    @property
    def control(self) -> bool:
        """True for what must not alarm."""
        return self.kind in CONTROLS


def all_shifts(config: ShiftsConfig) -> list[Shift]:
    """Those of the section, changes first, controls last; ConfigError for a wrong channel."""
    phone = channels.channel(PHONE, {PHONE: config.phone.steps})
    listed = (
        (PITCH, config.pitch),
        (FORMANTS, config.formants),
        (DURATION, config.duration),
        (BREATH, config.breath_db),
        (NOISE, config.noise_db),
        (RETURN, config.back),
    )
    shifts = [Shift(kind, amount) for kind, amounts in listed for amount in amounts]
    return shifts + [Shift(PHONE, number, phone) for number in config.phone.numbers]


def apply(shift: Shift, wave: np.ndarray, rate_hz: int, seed: int) -> np.ndarray:
    """``wave`` [samples] changed, float32 at the level (root mean square) it had.

    Peaks may pass 1. Equal waves and seeds give equal results; different waves get different noise.
    Raises AudioError for a wave that is silent or shorter than `LEAST_S`, ConfigError for an
    unknown kind.
    """
    if shift.channel is None and shift.kind not in _MAKERS:
        raise ConfigError(f"shifts: no kind {shift.kind!r}; there are {', '.join(_MAKERS)}")
    wave = np.ascontiguousarray(wave, dtype=np.float32)
    if len(wave) < LEAST_S * rate_hz or not wave.any():
        raise AudioError(
            f"a cry of {len(wave) / rate_hz:.2f} s that is shorter than {LEAST_S} s or silent "
            f"cannot be shifted ({shift.name}): drop it from the test clips"
        )
    rng = np.random.default_rng([seed, zlib.crc32(wave.tobytes())])
    if shift.channel is not None:
        made = channels.apply(shift.channel, wave, shift.name)
    else:
        made = _MAKERS[shift.kind](wave, rate_hz, shift.amount, rng)
    return (made * (_level(wave) / max(_level(made), 1e-12))).astype(np.float32)


@dataclass(frozen=True)
class _Voice:
    """An unchanged cry as several shifts need it."""

    spectrum: np.ndarray  # complex [bins, frames]
    f0_hz: np.ndarray  # [frames]
    log_envelope: np.ndarray  # [bins, frames]


@lru_cache(maxsize=1)  # a cry is changed in several ways, one after the other
def _voice(samples: bytes, rate_hz: int) -> _Voice:
    wave = np.frombuffer(samples, dtype=np.float32)
    spectrum, f0_hz = envelope.stft(wave), envelope.pitch_hz(wave, rate_hz)
    return _Voice(spectrum, f0_hz, envelope.log_envelope(np.abs(spectrum), f0_hz, rate_hz))


def _level(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=float))))


def _pitch(wave: np.ndarray, rate_hz: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    return _formants_back(wave, _moved(wave, rate_hz, ratio), rate_hz, ratio)


def _return(wave: np.ndarray, rate_hz: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    # Down first: going up first would push the highest sounds out of the band for good.
    down = _moved(wave, rate_hz, 1 / ratio)
    return _formants_back(wave, _moved(down, rate_hz, ratio), rate_hz, 1.0)


def _moved(wave: np.ndarray, rate_hz: int, ratio: float) -> np.ndarray:
    steps = 12 * np.log2(ratio)
    return librosa().effects.pitch_shift(
        wave, sr=rate_hz, n_steps=steps, n_fft=_N_FFT, hop_length=_HOP
    )


def _formants_back(wave: np.ndarray, moved: np.ndarray, rate_hz: int, ratio: float) -> np.ndarray:
    """``moved``, whose pitch is ``ratio`` times that of ``wave``, with the formants of ``wave``.

    Resampling took them along.
    """
    voice, after = _voice(wave.tobytes(), rate_hz), envelope.stft(moved)
    shape = envelope.log_envelope(np.abs(after), voice.f0_hz * ratio, rate_hz)
    return envelope.istft(after * _gain(voice.log_envelope - shape), len(wave))


def _formants(wave: np.ndarray, rate_hz: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    voice = _voice(wave.tobytes(), rate_hz)
    bins = np.arange(len(voice.log_envelope))
    # What comes from above the band has no envelope: the last value goes on.
    frames = [np.interp(bins / ratio, bins, frame) for frame in voice.log_envelope.T]
    gain = _gain(np.stack(frames, axis=1) - voice.log_envelope)
    return envelope.istft(voice.spectrum * gain, len(wave))


def _gain(log_gain: np.ndarray) -> np.ndarray:
    return np.exp(np.clip(log_gain, -_LARGEST_GAIN, _LARGEST_GAIN))


def _duration(wave: np.ndarray, rate_hz: int, ratio: float, rng: np.random.Generator) -> np.ndarray:
    return librosa().effects.time_stretch(wave, rate=1 / ratio, n_fft=_N_FFT, hop_length=_HOP)


def _breath(wave: np.ndarray, rate_hz: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Noise through the voice's own envelope: as loud as the cry, moment by moment, less amount."""
    voice = _voice(wave.tobytes(), rate_hz)
    spectrum, shape = voice.spectrum, np.exp(voice.log_envelope)
    noise = envelope.stft(rng.standard_normal(len(wave)).astype(np.float32))
    breath = noise * shape
    power = np.square(np.abs(spectrum)).sum(axis=0)
    breath *= np.sqrt(power / np.maximum(np.square(np.abs(breath)).sum(axis=0), 1e-12))
    return wave + 10 ** (-amount / 20) * envelope.istft(breath, len(wave))


def _noise(wave: np.ndarray, rate_hz: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Steady pink noise, as of a room: power falls with frequency, from 50 Hz on."""
    spectrum = np.fft.rfft(rng.standard_normal(len(wave)))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(len(wave), 1 / rate_hz), 50.0))
    noise = np.fft.irfft(spectrum, len(wave))
    return wave + noise * (_level(wave) / _level(noise) * 10 ** (-amount / 20))


_MAKERS: dict[str, Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]] = {
    PITCH: _pitch,
    FORMANTS: _formants,
    DURATION: _duration,
    BREATH: _breath,
    NOISE: _noise,
    RETURN: _return,
}
