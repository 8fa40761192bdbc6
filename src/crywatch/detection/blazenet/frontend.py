"""The log-mel pictures that BlazeNet sees: 64 bands x 64 frames of one segment.

The paper's picture is librosa's `melspectrogram` with ``center=False`` and `power_to_db` (reference
1, clipped at 80 dB below the segment's peak). With its 8,000 Hz upper edge at an 8 kHz rate the
upper bands are empty; after clipping they hold the absolute level.

Scale ``minmax`` is the picture of the authors' code: decibels under the segment's peak, from the
segment's least to its greatest as the levels 0 to 255 of an image, here 0 to 1.

The level of a recording, its floor and what lies above its band tell the corpus it comes from. The
other scales say nothing of them: a segment is brought to one level, all bands lie below the Nyquist
frequency, what is ``top_db`` or more below the segment's loudest point is one floor, and the mean
goes. Per-channel energy normalisation (Y. Wang et al., Trainable frontend for robust and far-field
keyword spotting, 2017) takes a band's own recent level off instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ, cut, n_segments
from crywatch.audio.waves.resampling import resample
from crywatch.core.errors import ConfigError

FRAMES = 64
SCALES = ("mean", "peak", "spread", "pcen", "paper", "minmax")
# Decibels to network input, about -1 to 1 for ordinary levels. The paper does not give its scale.
CENTRE_DB, SCALE_DB = -30.0, 40.0
MEAN_DB = 20.0  # the same, of level-free pictures
SPREAD_DB = 3.0  # added to the standard deviation: a steady picture is not blown up
LEAST_RMS = 1e-7  # below it there is nothing to bring to a level
AMIN = 1e-10
PCEN_EPS = 1e-6
CHUNK = 1 << 19  # samples of windows at a time: they and their spectra fit the cache


@dataclass  # not frozen: OmegaConf merges into it
class PcenConfig:
    """(E / (eps + M)^gain + bias)^power - bias^power, M the band's smoothed power."""

    time_s: float  # constant of the smoother
    gain: float
    bias: float
    power: float


@dataclass  # not frozen: OmegaConf merges into it
class FrontEndConfig:
    """How a segment becomes a picture; window and hop are those of 1 s and scale with it."""

    rate_hz: int
    n_mels: int
    window_s: float
    hop_s: float
    fmin_hz: float
    fmax_hz: float
    top_db: float  # below the loudest point of the segment there is one floor
    segment_s: float = 1.0
    scale: str | None = None  # see SCALES; None: the paper's
    band_share: float = 0.0  # of each band's own mean that is taken off
    pcen: PcenConfig | None = None  # of scale pcen

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> FrontEndConfig:
        """From a model's description, as `as_dict` wrote it."""
        pcen = values.get("pcen")
        return cls(**{**values, "pcen": PcenConfig(**pcen) if pcen else None})

    def as_dict(self) -> dict[str, Any]:
        """For a model's description: what a picture of this scale goes by."""
        left_out = {"scale", "band_share", "pcen"} if self.scale is None else set()
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def n_fft(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.rate_hz * self.segment_s)

    @property
    def hop(self) -> int:
        """Samples between windows."""
        return int(self.hop_s * self.rate_hz) * round(self.segment_s)

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be the front end of a network."""
        if self.scale not in SCALES:
            raise ConfigError(f"{key}.scale is {self.scale!r}; there are {', '.join(SCALES)}")
        if self.scale == "pcen" and self.pcen is None:
            raise ConfigError(f"{key}.scale is pcen: set {key}.pcen, as conf/robust_front_end does")
        if self.scale != "paper" and self.fmax_hz > self.rate_hz / 2:
            raise ConfigError(
                f"{key}.fmax_hz is {self.fmax_hz:g}, above the Nyquist frequency "
                f"{self.rate_hz / 2:g}: bands up there are empty and tell the level"
            )
        frames = (round(self.rate_hz * self.segment_s) - self.n_fft) // max(1, self.hop) + 1
        if self.n_mels != FRAMES or frames < FRAMES:
            raise ConfigError(
                f"{key} makes pictures of {self.n_mels} bands and {frames} frames: set n_mels to "
                f"{FRAMES}, and window_s and hop_s so that a segment has {FRAMES} frames"
            )
        if not 0 <= self.band_share <= 1 or self.top_db <= 0:
            raise ConfigError(
                f"{key}: band_share is {self.band_share:g} and top_db {self.top_db:g}: set the "
                "share within 0 and 1 and top_db above 0"
            )


@cache
def _filters(rate_hz: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float) -> Tensor:
    mel = mel_filters(rate_hz, n_fft, n_mels, fmin_hz, fmax_hz)
    return torch.from_numpy(mel).T.contiguous()  # [bins, bands]


def decibels(segments: Tensor, config: FrontEndConfig) -> Tensor:
    """[n, samples] at ``config.rate_hz`` to [n, bands, 64] in decibels."""
    parts = segments.split(max(1, CHUNK // (FRAMES * config.n_fft)))
    return torch.cat([_decibels(part, config) for part in parts])


def _decibels(segments: Tensor, config: FrontEndConfig) -> Tensor:
    frames = segments.unfold(1, config.n_fft, config.hop)[:, :FRAMES]
    window = torch.hann_window(config.n_fft, dtype=segments.dtype)
    spectrum = torch.fft.rfft(frames * window)
    power = spectrum.real.square() + spectrum.imag.square()
    band = (config.fmin_hz, config.fmax_hz)
    filters = _filters(config.rate_hz, config.n_fft, config.n_mels, *band)
    mel = power @ filters.to(segments.dtype)
    level = 10 * torch.log10(mel.clamp_min(AMIN))
    floor = level.amax(dim=(1, 2), keepdim=True) - config.top_db
    return torch.maximum(level, floor).transpose(1, 2)


def pictures(segments: Tensor, config: FrontEndConfig, floor_db: Tensor | None = None) -> Tensor:
    """[n, samples] at ``config.rate_hz`` to network input [n, bands, 64].

    ``floor_db`` [n] raises the floor of each level-free segment: so many decibels below its
    loudest point.
    """
    if config.scale in (None, "paper"):
        return decibels(segments, config).sub_(CENTRE_DB).div_(SCALE_DB)
    if config.scale == "minmax":
        return _image(decibels(segments, config))
    rms = segments.square().mean(dim=1, keepdim=True).sqrt()
    level = decibels(segments / rms.clamp_min(LEAST_RMS), config)
    if config.pcen is not None and config.scale == "pcen":
        return _pcen(level, config.pcen, config.hop_s)
    peak = level.amax(dim=(1, 2), keepdim=True)
    if floor_db is not None:
        level = torch.maximum(level, peak - floor_db[:, None, None])
    if config.band_share:
        level = level - config.band_share * level.mean(dim=2, keepdim=True)
        peak = level.amax(dim=(1, 2), keepdim=True)
    if config.scale == "peak":
        return (level - peak) * (2 / config.top_db) + 1
    level = level - level.mean(dim=(1, 2), keepdim=True)
    if config.scale == "mean":
        return level / MEAN_DB
    return level / (level.std(dim=(1, 2), keepdim=True) + SPREAD_DB)


def _image(level: Tensor) -> Tensor:
    """Whole 255ths, cut off as an image's bytes are; an even picture is black."""
    least, most = level.amin(dim=(1, 2), keepdim=True), level.amax(dim=(1, 2), keepdim=True)
    return ((level - least) * 255 / (most - least).clamp_min(AMIN)).floor_() / 255


def _pcen(level: Tensor, pcen: PcenConfig, hop_s: float) -> Tensor:
    power = torch.pow(10.0, level / 10)
    smooth = power @ _smoother(pcen.time_s, hop_s)
    quotient = power / (PCEN_EPS + smooth) ** pcen.gain
    return (quotient + pcen.bias) ** pcen.power - pcen.bias**pcen.power


@cache
def _smoother(time_s: float, hop_s: float) -> Tensor:
    """[64, 64]: a row of frames times it is M[t] = (1 - s) M[t - 1] + s E[t], with M[0] = E[0]."""
    frames = time_s / hop_s
    # The rate of a first-order filter with that time constant, as librosa.pcen has it.
    s = ((1 + 4 * frames**2) ** 0.5 - 1) / (2 * frames**2)
    age = torch.arange(FRAMES)[None, :] - torch.arange(FRAMES)[:, None]
    weights = s * (1 - s) ** age.clamp_min(0).double() * (age >= 0)
    weights[0] /= s
    return weights.float()


def from_wave(
    wave: np.ndarray, config: FrontEndConfig, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A recording [samples] at 16 kHz to the pictures of its segments [segments, bands, 64].

    Resampled as a whole, so that segments have no edges inside; computed in ``dtype``.
    """
    return pictures(torch.from_numpy(segments_of(wave, config)).to(dtype), config)


def segments_of(wave: np.ndarray, config: FrontEndConfig) -> np.ndarray:
    """A recording [samples] at 16 kHz to its segments [segments, samples] at ``config.rate_hz``."""
    count = n_segments(len(wave), RATE_HZ, config.segment_s)
    low = resample(wave, RATE_HZ, config.rate_hz)
    # Rounding at the lower rate must not make or lose a tail that 16 kHz counts.
    samples = count * round(config.rate_hz * config.segment_s)
    low = np.pad(low[:samples], (0, max(0, samples - len(low))))
    return cut(low, config.rate_hz, config.segment_s)
