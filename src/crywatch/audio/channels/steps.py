"""The steps of a channel: each takes [samples] float32 at 16 kHz and gives as many.

A step draws what it needs from the generator of the clip, in a fixed order. Filters have a linear
phase and their delay taken off, so that nothing moves in time. What follows the sound instead of
being the same throughout (gain control, noise suppression) is in `channels.dynamics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from crywatch.audio.channels import codecs
from crywatch.audio.channels.config import Curve, Drawn, curve, number, word, words
from crywatch.audio.channels.dynamics import controlled, suppressed
from crywatch.audio.channels.levels import amplitude, sounding_rms
from crywatch.audio.mixer import coloured_noise
from crywatch.audio.rooms import response, reverberant
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.core.errors import ConfigError

NYQUIST_HZ = RATE_HZ / 2
TAPS = 511  # of a filter: 32 ms
STOPBAND_DB = 70.0
SEEDS = 2**31
RESAMPLERS = {"quick": "QQ", "low": "LQ", "medium": "MQ", "high": "HQ", "very_high": "VHQ"}
LINEAR = "linear"


class Step(Protocol):
    """What stands in a channel."""

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, if the values do not go together."""

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[samples] after this step of ``wave`` [samples], at least one, at 16 kHz."""


class _Free:
    """Values that go together whatever they are."""

    def check(self, key: str) -> None:
        """Nothing can be wrong."""


@dataclass(frozen=True)
class Band:
    """Only what lies from ``low_hz`` to ``high_hz`` (70 dB down 75 Hz outside)."""

    low_hz: Drawn = number(0, NYQUIST_HZ, default=0.0)
    high_hz: Drawn = number(0, NYQUIST_HZ, default=NYQUIST_HZ, open_=True)

    def check(self, key: str) -> None:
        if self.low_hz.max >= self.high_hz.min:
            raise ConfigError(
                f"{key}: low_hz (up to {self.low_hz.max:g}) must be below high_hz (from "
                f"{self.high_hz.min:g})"
            )

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        taps = _band_taps(self.low_hz.draw(rng), self.high_hz.draw(rng))
        return wave if taps is None else _filtered(wave, taps)


@dataclass(frozen=True)
class Microphone(_Free):
    """A frequency response in dB at knots in Hz; beyond the outer knots it goes on level."""

    response: Curve = curve()

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _filtered(
            wave, _response_taps(self.response.hz, tuple(v.draw(rng) for v in self.response.values))
        )


@dataclass(frozen=True)
class Level(_Free):
    """One level, measured where the clip sounds (`levels.sounding_rms`); silence stays silence."""

    dbfs: Drawn = number(high=0)

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        target, rms = amplitude(self.dbfs.draw(rng)), sounding_rms(wave)
        return wave * np.float32(target / rms) if rms else wave


@dataclass(frozen=True)
class Gain(_Free):
    """Louder or quieter by ``db``."""

    db: Drawn = number()

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return wave * np.float32(amplitude(self.db.draw(rng)))


@dataclass(frozen=True)
class Noise(_Free):
    """Steady noise, ``snr_db`` below the level of the clip where it sounds; none on silence."""

    snr_db: Drawn = number()
    colour: str = word(("white", "pink", "brown"), default="white")

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        snr_db, seed = self.snr_db.draw(rng), int(rng.integers(SEEDS))
        if self.colour == "white":
            noise = np.random.default_rng(seed).standard_normal(len(wave), dtype=np.float32)
        else:
            # One sample alone has no colour.
            noise = coloured_noise(self.colour, max(len(wave), 2), seed)[: len(wave)]
        return (wave + sounding_rms(wave) * amplitude(-snr_db) * noise).astype(np.float32)


@dataclass(frozen=True)
class Room(_Free):
    """A room (`crywatch.audio.rooms`), its tail cut off where the clip ends."""

    rt60_s: Drawn = number(0, 10, open_=True)
    direct_db: Drawn = number()  # direct-to-reverberant ratio

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rt60_s, direct_db = self.rt60_s.draw(rng), self.direct_db.draw(rng)
        room = response(rt60_s, direct_db, int(rng.integers(SEEDS)))
        return reverberant(wave, room.astype(np.float32))[: len(wave)].astype(np.float32)


@dataclass(frozen=True)
class Clip(_Free):
    """All beyond ``share`` of the clip's peak, or beyond ``dbfs``, is cut flat."""

    share: Drawn = number(0, 1, default=1.0, open_=True)
    dbfs: Drawn = number(high=0, default=0.0)

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        share, highest = self.share.draw(rng), amplitude(self.dbfs.draw(rng))
        limit = np.float32(min(share * float(np.abs(wave).max()), highest))
        return np.clip(wave, -limit, limit)


@dataclass(frozen=True)
class Quantise(_Free):
    """Steps of so many ``bits``, without dither."""

    bits: Drawn = number(2, 24)

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        half = 2 ** (round(self.bits.draw(rng)) - 1)
        return (np.clip(np.rint(wave * half), -half, half - 1) / half).astype(np.float32)


@dataclass(frozen=True)
class Resample(_Free):
    """To ``rate_hz`` and back: there by ``filter``, back by the filter of the whole project.

    The filters are soxr's qualities; ``linear`` interpolates without one, so that what lies above
    half the rate folds down, as in the cheapest of devices.
    """

    rate_hz: Drawn = number(1_000, 192_000)
    filter: str = word((*RESAMPLERS, LINEAR), default="high")

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate_hz = round(self.rate_hz.draw(rng))
        if self.filter == LINEAR:
            times = np.arange(int(np.ceil(len(wave) * rate_hz / RATE_HZ))) * (RATE_HZ / rate_hz)
            there = np.interp(times, np.arange(len(wave)), wave).astype(np.float32)
        else:
            import soxr

            there = soxr.resample(
                wave.astype(np.float64), RATE_HZ, rate_hz, quality=RESAMPLERS[self.filter]
            )
        return codecs.fitted(resample(there, rate_hz, RATE_HZ), len(wave))


@dataclass(frozen=True)
class CodecStep:
    """A codec (`crywatch.audio.channels.codecs`).

    Of several names one is drawn for each clip, and one of its bit rates. One name has its usual
    rates unless others are told.
    """

    name: tuple[str, ...] = words(lambda: tuple(codecs.KINDS))
    rate_hz: Drawn = number(0, default=0.0)
    bit_rate: Drawn = number(0, default=0.0)

    def check(self, key: str) -> None:
        for part in ("rate_hz", "bit_rate"):
            drawn: Drawn = getattr(self, part)
            if len(self.name) > 1 and drawn.max:
                raise ConfigError(f"{key}.{part}: cannot be told for several codecs at once")
            if drawn.min == 0 < drawn.max:
                raise ConfigError(f"{key}.{part}: 0 stands for the usual one, and starts no range")
        if self.rate_hz.min != self.rate_hz.max:
            raise ConfigError(f"{key}.rate_hz: is one of a few and cannot be drawn")
        for name in self.name:
            for bit_rate in (self.bit_rate.min, self.bit_rate.max):
                codecs.make(name, round(self.rate_hz.min), round(bit_rate), key)

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if len(self.name) > 1:
            codec = codecs.random_codec(rng, self.name)
        else:
            bit_rate = round(self.bit_rate.draw(rng))
            codec = codecs.make(self.name[0], round(self.rate_hz.min), bit_rate)
        return codecs.through(wave, RATE_HZ, codec)


@dataclass(frozen=True)
class Agc(_Free):
    """Automatic gain control: the level moves to ``target_dbfs``, fast when loud, slow when quiet.

    See `crywatch.audio.channels.dynamics.controlled`.
    """

    target_dbfs: Drawn = number(high=0)
    attack_s: Drawn = number(0, default=0.02, open_=True)
    release_s: Drawn = number(0, default=0.5, open_=True)
    max_gain_db: Drawn = number(0, default=30.0)

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return controlled(
            wave,
            target_dbfs=self.target_dbfs.draw(rng),
            attack_s=self.attack_s.draw(rng),
            release_s=self.release_s.draw(rng),
            max_gain_db=self.max_gain_db.draw(rng),
        )


@dataclass(frozen=True)
class Suppression(_Free):
    """Spectral noise suppression; see `crywatch.audio.channels.dynamics.suppressed`."""

    max_db: Drawn = number(0)  # most that is taken from a band
    window_s: Drawn = number(0, default=1.5, open_=True)  # in which the floor is looked for

    def apply(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        max_db = self.max_db.draw(rng)
        return suppressed(wave, max_db=max_db, window_s=self.window_s.draw(rng))


KINDS: dict[str, type[Step]] = {
    "band": Band,
    "microphone": Microphone,
    "level": Level,
    "gain": Gain,
    "noise": Noise,
    "room": Room,
    "clip": Clip,
    "quantise": Quantise,
    "resample": Resample,
    "codec": CodecStep,
    "agc": Agc,
    "suppression": Suppression,
}


@lru_cache(maxsize=256)
def _band_taps(low_hz: float, high_hz: float) -> np.ndarray | None:
    """A linear-phase filter [taps]; None where it would let all pass."""
    from scipy.signal import firwin, kaiser_beta

    cutoffs = [cutoff_hz for cutoff_hz in (low_hz, high_hz) if 0 < cutoff_hz < NYQUIST_HZ]
    if not cutoffs:
        return None
    window = ("kaiser", kaiser_beta(STOPBAND_DB))
    return firwin(TAPS, cutoffs, window=window, pass_zero=low_hz <= 0, fs=RATE_HZ)


@lru_cache(maxsize=256)
def _response_taps(hz: tuple[float, ...], db: tuple[float, ...]) -> np.ndarray:
    from scipy.signal import firwin2

    grid_hz = np.linspace(0, NYQUIST_HZ, TAPS)
    gains_db = np.interp(np.log(np.maximum(grid_hz, 1.0)), np.log(hz), db)
    return firwin2(TAPS, grid_hz, 10 ** (gains_db / 20), fs=RATE_HZ)


def _filtered(wave: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """``wave`` [samples] through a symmetric filter [taps], without its delay."""
    from scipy.signal import oaconvolve

    full = oaconvolve(wave, taps.astype(np.float32))
    start = len(taps) // 2
    return full[start : start + len(wave)].astype(np.float32)
