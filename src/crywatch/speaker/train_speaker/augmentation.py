"""What a room, a microphone and a phone do to a cry, drawn anew for every crop of a training.

Only what leaves open who cries: pitch and speed are the infant's. Only what the network can hear:
a gain, or a filter shorter than a frame, adds a constant to the bands, and the mean of each band is
taken off. (SpecAugment did not help on CryCeleb.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.audio.rooms import response, reverberant
from crywatch.audio.segments import RATE_HZ
from crywatch.core.errors import ConfigError

MAX_EXPONENT = 2.0  # noise between white and brown: power falls with frequency to that power
LOWEST_HZ = 20.0  # below it noise is flat
FALL_SHARE = 0.05  # of a band's edge: the width over which it falls to nothing
SEEDS = 2**31
_AUGMENT = 3  # stream of random numbers, beside those of speaker/batches.py


@dataclass
class CropRoomConfig:
    """A direct sound and a tail of noise that decays exponentially."""

    share: float  # of the crops
    min_rt60_s: float
    max_rt60_s: float
    min_direct_db: float  # direct-to-reverberant ratio
    max_direct_db: float


@dataclass
class CropNoiseConfig:
    """Steady noise from white to brown."""

    share: float  # of the crops
    min_snr_db: float  # of the whole crop's power against the noise's
    max_snr_db: float


@dataclass
class CropBandConfig:
    """A phone or a codec that carries nothing above some frequency."""

    share: float  # of the crops
    min_hz: float
    max_hz: float


@dataclass
class CropAugmentationConfig:
    """What may happen to a crop, in this order; null for never."""

    room: CropRoomConfig | None = None
    noise: CropNoiseConfig | None = None
    band: CropBandConfig | None = None


class CropAugmentation:
    """A changed copy of a batch; the draw is a function of seed, epoch, batch and row alone.

    Raises
    ------
    ConfigError
        A share or a range that cannot be.
    """

    def __init__(self, config: CropAugmentationConfig, seed: int):
        self.config, self.seed = config, seed
        room, noise, band = config.room, config.noise, config.band
        if room is not None:
            _check("room", room.share, "rt60_s", 0.0, room.min_rt60_s, room.max_rt60_s)
            _check("room", room.share, "direct_db", -np.inf, room.min_direct_db, room.max_direct_db)
        if noise is not None:
            _check("noise", noise.share, "snr_db", -np.inf, noise.min_snr_db, noise.max_snr_db)
        if band is not None:
            _check("band", band.share, "hz", 0.0, band.min_hz, band.max_hz)

    def batch(self, waves: np.ndarray, epoch: int, number: int) -> np.ndarray:
        """[rows, samples] at 16 kHz to the same shape, float32; ``waves`` stay as they are."""
        rows = []
        for row, wave in enumerate(waves):
            rng = np.random.default_rng([self.seed, _AUGMENT, epoch, number, row])
            rows.append(self._change(wave, rng))
        return np.stack(rows).astype(np.float32)

    def _change(self, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        room, noise, band = self.config.room, self.config.noise, self.config.band
        if room is not None and rng.random() < room.share:
            rt60_s = rng.uniform(room.min_rt60_s, room.max_rt60_s)
            direct_db = rng.uniform(room.min_direct_db, room.max_direct_db)
            taps = response(rt60_s, direct_db, int(rng.integers(SEEDS)))
            wave = reverberant(wave, taps)[: len(wave)]
        if noise is not None and rng.random() < noise.share:
            snr_db = rng.uniform(noise.min_snr_db, noise.max_snr_db)
            noise_wave = make_noise(len(wave), rng.uniform(0, MAX_EXPONENT), rng)
            wave = wave + np.sqrt(np.mean(np.square(wave)) / 10 ** (snr_db / 10)) * noise_wave
        if band is not None and rng.random() < band.share:
            wave = limit_band(wave, rng.uniform(band.min_hz, band.max_hz))
        return wave


def make_noise(n_samples: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """[n_samples] with a root mean square of 1; its power falls as frequency to ``exponent``."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    freqs_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), LOWEST_HZ)
    spectrum *= freqs_hz ** (-exponent / 2)
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / np.sqrt(np.mean(np.square(noise)))


def limit_band(wave: np.ndarray, edge_hz: float) -> np.ndarray:
    """``wave`` [samples] without what lies above ``edge_hz``."""
    freqs_hz = np.fft.rfftfreq(len(wave), 1 / RATE_HZ)
    gain = np.clip((edge_hz - freqs_hz) / (FALL_SHARE * edge_hz) + 1, 0, 1)
    return np.fft.irfft(gain * np.fft.rfft(wave), len(wave))


def _check(name: str, share: float, what: str, above: float, low: float, high: float) -> None:
    key = f"augmentation.{name}"
    if not 0 <= share <= 1:
        raise ConfigError(f"{key}.share is {share:g}: set it within 0 and 1, or {name} to null")
    if not above < low <= high:
        bound = f"{above:g} < " if np.isfinite(above) else ""
        raise ConfigError(
            f"{key}: min_{what} is {low:g} and max_{what} {high:g}: set {bound}min_{what} <= "
            f"max_{what}"
        )
