"""Lossy codecs: a wave as it is after encoding and decoding, in memory and without delay.

GSM 06.10 is encoded by libsndfile, the others by the libraries in PyAV's FFmpeg: AMR-NB
(opencore-amr), Opus, MP3 (LAME), AAC, IMA ADPCM, mu-law and A-law (ITU-T G.711) and G.722.
Everything is decoded by `crywatch.audio.decode`.

What a codec delays is measured once, by the cross-correlation of a known sound with what comes out,
and taken off; containers that say how much to skip are so believed only as far as they are right.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np

from crywatch.audio.decode import decode_bytes
from crywatch.audio.encoding import encoded, encodes
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.resampling import resample
from crywatch.core.errors import ConfigError, named

MAX_DELAY_S = 0.15
TAIL_S = 0.2  # of silence behind a wave, so that its end comes out of the codec too
PROBE_S = 1.0


@dataclass(frozen=True)
class Kind:
    """How a codec is encoded here; the first rate and bit rate are its usual ones."""

    container: str
    encoder: str  # of FFmpeg; a subtype of libsndfile where the container is "sndfile"
    rates_hz: tuple[int, ...]
    bit_rates: tuple[int, ...] = ()  # bits a second, steps to draw from; () where it has only one
    options: dict[str, str] = field(default_factory=dict)


KINDS = {
    "gsm": Kind("sndfile", "GSM610", (8_000,)),
    "amr": Kind(
        "amr",
        "libopencore_amrnb",
        (8_000,),
        (12_200, 4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200),
    ),
    "opus": Kind(
        "ogg",
        "libopus",
        (16_000, 8_000, 12_000, 24_000, 48_000),
        (16_000, 8_000, 12_000, 24_000, 32_000),
        {"application": "voip"},
    ),
    "mp3": Kind(
        "mp3", "libmp3lame", (16_000, 8_000, 24_000, 32_000), (32_000, 16_000, 24_000, 64_000)
    ),
    "aac": Kind("adts", "aac", (16_000, 8_000, 32_000, 48_000), (32_000, 16_000, 24_000, 64_000)),
    "adpcm": Kind("wav", "adpcm_ima_wav", (8_000, 16_000)),
    "mulaw": Kind("wav", "pcm_mulaw", (8_000, 16_000)),
    "alaw": Kind("wav", "pcm_alaw", (8_000, 16_000)),
    "g722": Kind("wav", "g722", (16_000,)),
}


@dataclass(frozen=True)
class Codec:
    """A codec with its rates; `make` checks them."""

    name: str  # of KINDS
    rate_hz: int  # of the samples that are encoded
    bit_rate: int  # bits a second; 0 where the codec has only one


def make(name: str, rate_hz: int = 0, bit_rate: int = 0, key: str = "codec") -> Codec:
    """A codec; 0 stands for its usual rate. ConfigError, naming ``key``, if there is none such."""
    kind = named(KINDS, name, f"{key}.name")
    if name not in available():
        raise ConfigError(
            f"{key}.name: this machine's {'soundfile' if kind.container == 'sndfile' else 'PyAV'} "
            f"cannot encode {name} ({kind.encoder}): install its wheel from PyPI, or take one of "
            f"{', '.join(available())}"
        )
    if rate_hz and rate_hz not in kind.rates_hz:
        rates = ", ".join(map(str, sorted(kind.rates_hz)))
        raise ConfigError(f"{key}.rate_hz: {name} is not encoded at {rate_hz} Hz but at {rates}")
    if bit_rate and not kind.bit_rates:
        raise ConfigError(f"{key}.bit_rate: {name} has only one, leave it out")
    if bit_rate and not min(kind.bit_rates) <= bit_rate <= max(kind.bit_rates):
        raise ConfigError(
            f"{key}.bit_rate: {bit_rate} for {name} must lie from {min(kind.bit_rates)} to "
            f"{max(kind.bit_rates)} bits a second"
        )
    usual = kind.bit_rates[0] if kind.bit_rates else 0
    return Codec(name, rate_hz or kind.rates_hz[0], bit_rate or usual)


@cache
def available() -> tuple[str, ...]:
    """The names of the codecs that this machine's libraries encode."""
    return tuple(name for name, kind in KINDS.items() if _encodes(kind))


def _encodes(kind: Kind) -> bool:
    if kind.container == "sndfile":
        import soundfile

        return soundfile.check_format("WAV", kind.encoder)
    return encodes(kind.encoder)


def random_codec(rng: np.random.Generator, names: Sequence[str] | None = None) -> Codec:
    """A codec out of ``names`` (all that are available) at its usual rate and a drawn bit rate."""
    names = available() if names is None else names
    name = names[int(rng.integers(len(names)))]
    bit_rates = named(KINDS, name, "codec.name").bit_rates or (0,)
    return make(name, bit_rate=bit_rates[int(rng.integers(len(bit_rates)))])


def through(wave: np.ndarray, rate_hz: int, codec: Codec) -> np.ndarray:
    """``wave`` [samples] at ``rate_hz`` after ``codec``: [samples] float32, in the same seconds.

    The codec takes 16-bit samples: what lies outside [-1, 1] is clipped.
    """
    if not len(wave):
        return np.zeros(0, dtype=np.float32)
    inside = resample(wave, rate_hz, codec.rate_hz)
    samples = to_int16(np.pad(inside, (0, round(TAIL_S * codec.rate_hz))))
    decoded = decode_bytes(encode(samples, codec), codec.name)
    heard = _shifted(decoded.wave, round(delay_s(codec) * decoded.rate_hz))
    return fitted(resample(heard, decoded.rate_hz, rate_hz), len(wave))


def encode(samples: np.ndarray, codec: Codec) -> bytes:
    """int16 ``samples`` [samples] at the rate of ``codec`` as a file of it."""
    kind = KINDS[codec.name]
    if kind.container == "sndfile":
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, samples, codec.rate_hz, format="WAV", subtype=kind.encoder)
        return file.getvalue()
    return encoded(
        samples,
        codec.rate_hz,
        kind.container,
        kind.encoder,
        bit_rate=codec.bit_rate,
        options=kind.options,
    )


@lru_cache(maxsize=1024)
def delay_s(codec: Codec) -> float:
    """By how much what is decoded comes later than what was encoded; below 0 if it is earlier."""
    from scipy.signal import correlate

    probe = _probe(codec.rate_hz)
    samples = to_int16(np.pad(probe, (0, round(TAIL_S * codec.rate_hz))))
    decoded = decode_bytes(encode(samples, codec), codec.name)
    sent = resample(probe, codec.rate_hz, decoded.rate_hz).astype(np.float64)
    products = correlate(decoded.wave.astype(np.float64), sent, mode="full", method="fft")
    lags = np.arange(len(products)) - (len(sent) - 1)
    near = np.abs(lags) <= MAX_DELAY_S * decoded.rate_hz
    return float(lags[near][np.argmax(products[near])] / decoded.rate_hz)


def _probe(rate_hz: int) -> np.ndarray:
    """A sound that speech codecs keep: low noise in bursts, [samples] float32."""
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng(0)
    noise = rng.standard_normal(round(PROBE_S * rate_hz))
    voice = sosfilt(butter(2, [200, 1800], "bandpass", fs=rate_hz, output="sos"), noise)
    swell = np.sin(2 * np.pi * 4 * np.arange(len(voice)) / rate_hz) ** 2
    voice = voice * swell
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


def _shifted(wave: np.ndarray, delay: int) -> np.ndarray:
    return wave[delay:] if delay >= 0 else np.pad(wave, (-delay, 0))


def fitted(wave: np.ndarray, n_samples: int) -> np.ndarray:
    """``wave`` cut, or with zeros behind it, to [n_samples]."""
    return np.pad(wave[:n_samples], (0, max(0, n_samples - len(wave))))
