"""Log-mel pictures that say nothing of the level: 64 bands x 64 frames of one second.

The level of a recording, its floor and what lies above its band tell the corpus it comes from. Here
a segment is brought to one level, all bands lie below the Nyquist frequency, what is ``top_db`` or
more below the segment's loudest point is one floor, and the mean goes. Per-channel energy
normalisation (Y. Wang et al., Trainable frontend for robust and far-field keyword spotting, 2017)
takes a band's own recent level off instead. Scale ``paper`` is the picture of
`crywatch.detection.blazenet.frontend`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import torch
from torch import Tensor

from crywatch.core.errors import ConfigError
from crywatch.detection.blazenet.frontend import (
    CENTRE_DB,
    FRAMES,
    SCALE_DB,
    FrontEndConfig,
    decibels,
)

SCALES = ("mean", "peak", "spread", "pcen", "paper")
MEAN_DB = 20.0  # decibels to network input
SPREAD_DB = 3.0  # added to the standard deviation: a steady picture is not blown up
LEAST_RMS = 1e-7  # below it there is nothing to bring to a level
PCEN_EPS = 1e-6


@dataclass  # not frozen: OmegaConf merges into it
class PcenConfig:
    """(E / (eps + M)^gain + bias)^power - bias^power, M the band's smoothed power."""

    time_s: float  # constant of the smoother
    gain: float
    bias: float
    power: float


@dataclass  # not frozen: OmegaConf merges into it
class PictureConfig:
    """How one second becomes a picture."""

    scale: str  # see SCALES
    rate_hz: int
    n_mels: int
    window_s: float
    hop_s: float
    fmin_hz: float
    fmax_hz: float
    top_db: float  # below the loudest point of the segment there is one floor
    band_share: float  # of each band's own mean that is taken off
    pcen: PcenConfig | None = None  # of scale pcen

    def check(self, key: str) -> None:
        """ConfigError, naming ``key``, for what cannot be."""
        if self.scale not in SCALES:
            raise ConfigError(f"{key}.scale is {self.scale!r}; there are {', '.join(SCALES)}")
        if self.scale == "pcen" and self.pcen is None:
            raise ConfigError(f"{key}.scale is pcen: set {key}.pcen, as conf/robust_front_end does")
        if self.scale != "paper" and self.fmax_hz > self.rate_hz / 2:
            raise ConfigError(
                f"{key}.fmax_hz is {self.fmax_hz:g}, above the Nyquist frequency "
                f"{self.rate_hz / 2:g}: bands up there are empty and tell the level"
            )
        mel = self.mel()
        frames = (self.rate_hz - mel.n_fft) // max(1, mel.hop) + 1
        if self.n_mels != FRAMES or frames < FRAMES:
            raise ConfigError(
                f"{key} makes pictures of {self.n_mels} bands and {frames} frames: set n_mels to "
                f"{FRAMES}, and window_s and hop_s so that a second has {FRAMES} frames"
            )
        if not 0 <= self.band_share <= 1 or self.top_db <= 0:
            raise ConfigError(
                f"{key}: band_share is {self.band_share:g} and top_db {self.top_db:g}: set the "
                "share within 0 and 1 and top_db above 0"
            )

    def as_dict(self) -> dict:
        """For a model's description."""
        return asdict(self)

    def mel(self) -> FrontEndConfig:
        """The part that BlazeNet's front end knows."""
        return FrontEndConfig(
            rate_hz=self.rate_hz,
            n_mels=self.n_mels,
            window_s=self.window_s,
            hop_s=self.hop_s,
            fmin_hz=self.fmin_hz,
            fmax_hz=self.fmax_hz,
            top_db=self.top_db,
        )


def picture_config(values: dict) -> PictureConfig:
    """From a model's description."""
    pcen = values.get("pcen")
    return PictureConfig(**values | {"pcen": PcenConfig(**pcen) if pcen else None})


def pictures(segments: Tensor, config: PictureConfig, floor_db: Tensor | None = None) -> Tensor:
    """[n, samples] at ``config.rate_hz`` to network input [n, bands, 64].

    ``floor_db`` [n] raises the floor of each segment: so many decibels below its loudest point.
    """
    if config.scale == "paper":
        return decibels(segments, config.mel()).sub_(CENTRE_DB).div_(SCALE_DB)
    rms = segments.square().mean(dim=1, keepdim=True).sqrt()
    level = decibels(segments / rms.clamp_min(LEAST_RMS), config.mel())
    if config.scale == "pcen":
        return _pcen(level, config)
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


def _pcen(level: Tensor, config: PictureConfig) -> Tensor:
    pcen = config.pcen
    assert pcen is not None
    power = torch.pow(10.0, level / 10)
    smooth = power @ _smoother(pcen.time_s, config.hop_s)
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
