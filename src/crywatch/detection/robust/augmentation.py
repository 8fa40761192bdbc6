"""Drawn channels: what a room, a microphone, a line and a phone do to a second, whatever it holds.

Everything is drawn without a look at the label, so that nothing of it tells a cry from another
sound. Backgrounds come first, at a drawn ratio to the second's own power; then the room and the
response, as one filter; then what is not linear. The codecs are in the copies that are drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.audio.activity import RATE_HZ
from crywatch.detection.robust.spans import Span, check_share

TAPS = 4_000  # of a room response, 0.5 s
LENGTH = 12_000  # of the transform: a second and the taps, without wrapping around
DIRECT_SAMPLES = 8  # before the first reflection
LEVEL = 0.1  # rms before what is not linear
SILENT = 1e-6  # rms, under which a second has no level of its own
NEVER_DB = -100.0  # the least that a filter passes
NOISE_FLOOR_HZ = 50.0  # coloured noise is flat below


@dataclass  # not frozen: OmegaConf merges into it
class BackgroundConfig:
    """Another sound of the training part, mixed into cries and other sounds alike."""

    share: float
    snr_db: Span


@dataclass
class RoomConfig:
    """A direct sound and noise that decays exponentially."""

    share: float
    rt60_s: Span
    direct_db: Span  # direct-to-reverberant ratio


@dataclass
class EqualiserConfig:
    """A response that is linear between knots evenly spread up to the Nyquist frequency."""

    knots: int
    gain_db: float  # at most, up or down


@dataclass
class EdgeConfig:
    """One end of the band."""

    share: float
    edge_hz: Span
    slope_db: Span  # an octave


@dataclass
class FarConfig:
    """Spoken across the room: the sound is lowered against the noise of the device itself."""

    share: float
    loss_db: Span  # of the sound, from LEVEL
    noise_dbfs: Span


@dataclass
class ClippingConfig:
    """Cut off at a share of the peak."""

    share: float
    peak_share: Span


@dataclass
class NoiseConfig:
    """Steady noise; its power falls with frequency to the exponent (0 white, 1 pink, 2 brown)."""

    share: float
    snr_db: Span
    exponent: Span


@dataclass
class SpeedConfig:
    """Played faster or slower, pitch and all."""

    share: float
    factor: Span


@dataclass
class MaskingConfig:
    """Bands and frames of the picture that are lost, each up to so many."""

    share: float
    bands: int
    frames: int


@dataclass
class AugmentationConfig:
    """What may happen to a second; null for never."""

    background: BackgroundConfig | None = None
    room: RoomConfig | None = None
    equaliser: EqualiserConfig | None = None
    highpass: EdgeConfig | None = None
    lowpass: EdgeConfig | None = None
    far: FarConfig | None = None
    clipping: ClippingConfig | None = None
    noise: NoiseConfig | None = None
    level_db: float = 0.0  # lowered by up to so much
    speed: SpeedConfig | None = None
    floor_db: Span | None = None  # of the picture below its loudest point, drawn for each second
    masking: MaskingConfig | None = None

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for a share or a range that cannot be."""
        positive = {"rt60_s", "edge_hz", "factor", "peak_share"}
        for name, part in vars(self).items():
            if isinstance(part, Span):
                part.check(f"{key}.{name}", 0.0)
            elif part is not None and not isinstance(part, float | int):
                for field, value in vars(part).items():
                    where = f"{key}.{name}.{field}"
                    if field == "share":
                        check_share(where, value)
                    elif isinstance(value, Span):
                        value.check(where, 0.0 if field in positive else -np.inf)


def draw_speeds(config: AugmentationConfig, rng: np.random.Generator, n: int) -> np.ndarray | None:
    """[n] factors, 1 where nothing happens; None without this part."""
    part = config.speed
    if part is None:
        return None
    factors = np.exp(rng.uniform(np.log(part.factor.min), np.log(part.factor.max), n))
    return np.where(rng.random(n) < part.share, factors, 1.0)


def augment(
    waves: np.ndarray,
    backgrounds: np.ndarray | None,
    config: AugmentationConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """[n, 8000] float32 to the same, changed; ``backgrounds`` [n, 8000] may be mixed in."""
    out = waves
    if config.background is not None and backgrounds is not None:
        out = _mix(out, backgrounds, config.background, rng)
    out = _filter(out, config, rng)
    if config.far is not None:
        out = _move_away(_set_level(out), config.far, rng)
    out = _set_level(out)
    if config.clipping is not None:
        out = _clip(out, config.clipping, rng)
    if config.noise is not None:
        out = _add_noise(out, config.noise, rng)
    if config.level_db:
        gains_db = -rng.uniform(0, config.level_db, (len(out), 1))
        out = out * (10 ** (gains_db / 20)).astype(np.float32)
    return out


def _rms(waves: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(np.square(waves), axis=1, keepdims=True))


def _set_level(waves: np.ndarray) -> np.ndarray:
    return waves * (LEVEL / np.maximum(_rms(waves), SILENT))


def _mix(
    waves: np.ndarray, others: np.ndarray, config: BackgroundConfig, rng: np.random.Generator
) -> np.ndarray:
    n = len(waves)
    gain = 10 ** (-config.snr_db.draw(rng, n)[:, None] / 20) * (rng.random((n, 1)) < config.share)
    ratio = np.maximum(_rms(waves), SILENT) / np.maximum(_rms(others), SILENT)
    return waves + others * (ratio * gain).astype(np.float32)


def _filter(waves: np.ndarray, config: AugmentationConfig, rng: np.random.Generator) -> np.ndarray:
    """Room and response in one transform."""
    import scipy.fft

    n = len(waves)
    response = _response(config, rng, n)
    rows, taps = _rooms(config.room, rng, n)
    if response is None and not len(rows):
        return waves
    spectra = scipy.fft.rfft(waves, LENGTH, axis=1)
    if len(rows):
        spectra[rows] *= scipy.fft.rfft(taps, LENGTH, axis=1)
    if response is not None:
        spectra *= response
    return scipy.fft.irfft(spectra, LENGTH, axis=1)[:, : waves.shape[1]]


def _rooms(
    config: RoomConfig | None, rng: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are in a room, and the responses of those [rows, TAPS] float32."""
    if config is None:
        return np.zeros(0, dtype=np.int64), np.zeros((0, TAPS), dtype=np.float32)
    rows = np.flatnonzero(rng.random(n) < config.share)
    seconds = np.arange(TAPS, dtype=np.float32) / RATE_HZ
    rt60_s = config.rt60_s.draw(rng, len(rows)).astype(np.float32)[:, None]
    taps = rng.standard_normal((len(rows), TAPS), dtype=np.float32)
    taps *= np.exp(np.float32(-3 * np.log(10)) * seconds / rt60_s)
    taps[:, :DIRECT_SAMPLES] = 0
    taps /= np.sqrt(np.square(taps).sum(axis=1, keepdims=True))
    taps *= (10 ** (-config.direct_db.draw(rng, len(rows))[:, None] / 20)).astype(np.float32)
    taps[:, 0] = 1
    return rows, taps


def _response(config: AugmentationConfig, rng: np.random.Generator, n: int) -> np.ndarray | None:
    """Gains [n, LENGTH / 2 + 1] float32 of equaliser and band, without phase; None for none."""
    if config.equaliser is None and config.lowpass is None and config.highpass is None:
        return None
    freqs_hz = np.linspace(0, RATE_HZ / 2, LENGTH // 2 + 1)
    gains_db = np.zeros((n, len(freqs_hz)), dtype=np.float32)
    if config.equaliser is not None:
        knots = max(2, config.equaliser.knots)
        heights = rng.uniform(-1, 1, (n, knots)) * config.equaliser.gain_db
        at = freqs_hz / freqs_hz[-1] * (knots - 1)
        left = np.minimum(at.astype(int), knots - 2)
        right_share = (at - left).astype(np.float32)
        heights = heights.astype(np.float32)
        gains_db += heights[:, left] * (1 - right_share) + heights[:, left + 1] * right_share
    octaves = np.log2(np.maximum(freqs_hz, 1.0)).astype(np.float32)
    for edge, sign in ((config.lowpass, 1), (config.highpass, -1)):
        if edge is None:
            continue
        on = rng.random((n, 1)) < edge.share
        middle = np.log2(edge.edge_hz.draw(rng, n))[:, None].astype(np.float32)
        slope = (on * edge.slope_db.draw(rng, n)[:, None]).astype(np.float32)
        gains_db -= slope * np.maximum(0, sign * (octaves - middle))
    np.maximum(gains_db, NEVER_DB, out=gains_db)
    gains_db *= np.float32(np.log(10) / 20)
    return np.exp(gains_db, out=gains_db)


def _move_away(waves: np.ndarray, config: FarConfig, rng: np.random.Generator) -> np.ndarray:
    rows = np.flatnonzero(rng.random(len(waves)) < config.share)
    gain = 10 ** (-config.loss_db.draw(rng, len(rows))[:, None] / 20)
    level = 10 ** (config.noise_dbfs.draw(rng, len(rows))[:, None] / 20)
    noise = rng.standard_normal((len(rows), waves.shape[1]), dtype=np.float32)
    out = waves.copy()
    out[rows] = out[rows] * gain.astype(np.float32) + noise * level.astype(np.float32)
    return out


def _clip(waves: np.ndarray, config: ClippingConfig, rng: np.random.Generator) -> np.ndarray:
    n = len(waves)
    on = rng.random((n, 1)) < config.share
    share = np.where(on, config.peak_share.draw(rng, n)[:, None], 1.0).astype(np.float32)
    most = np.abs(waves).max(axis=1, keepdims=True) * share
    return np.clip(waves, -most, most)


def _add_noise(waves: np.ndarray, config: NoiseConfig, rng: np.random.Generator) -> np.ndarray:
    import scipy.fft

    n, length = waves.shape
    rows = np.flatnonzero(rng.random(n) < config.share)
    noise = rng.standard_normal((len(rows), length), dtype=np.float32)
    exponents = config.exponent.draw(rng, len(rows)).astype(np.float32)
    if len(rows) and exponents.any():
        spectra = scipy.fft.rfft(noise, axis=1)
        freqs_hz = np.maximum(scipy.fft.rfftfreq(length, 1 / RATE_HZ), NOISE_FLOOR_HZ)
        falls = np.log(freqs_hz / NOISE_FLOOR_HZ).astype(np.float32)
        spectra *= np.exp(-exponents[:, None] / 2 * falls)
        noise = scipy.fft.irfft(spectra, length, axis=1)
        noise /= np.maximum(_rms(noise), SILENT)
    level = LEVEL * 10 ** (-config.snr_db.draw(rng, len(rows))[:, None] / 20)
    out = waves.copy()
    out[rows] += noise * level.astype(np.float32)
    return out


def mask_strips(
    pictures: np.ndarray, config: MaskingConfig, rng: np.random.Generator
) -> np.ndarray:
    """[n, bands, frames] with a strip of bands and one of frames at each picture's mean."""
    n, n_bands, n_frames = pictures.shape
    on = rng.random(n) < config.share
    keep = np.ones(pictures.shape, dtype=bool)
    for axis, size, most in ((1, n_bands, config.bands), (2, n_frames, config.frames)):
        if most < 1:
            continue
        width = rng.integers(1, most + 1, n)
        first = np.floor(rng.random(n) * (size - width + 1)).astype(int)
        at = np.arange(size)[None, :]
        lost = (at >= first[:, None]) & (at < (first + width)[:, None]) & np.expand_dims(on, 1)
        keep &= ~np.expand_dims(lost, 3 - axis)
    return np.where(keep, pictures, pictures.mean(axis=(1, 2), keepdims=True))
