"""The log-mel picture that BlazeNet sees: 64 bands x 64 frames of one segment.

librosa's `melspectrogram` with ``center=False`` and `power_to_db` (reference 1, clipped at 80 dB
below the segment's peak). With the paper's 8,000 Hz upper edge at an 8 kHz rate the upper bands are
empty; after clipping they hold the absolute level.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from crywatch.audio.decode import resample
from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ, cut, n_segments

FRAMES = 64
# Decibels to network input, about -1 to 1 for ordinary levels. The paper does not give its scale.
CENTRE_DB, SCALE_DB = -30.0, 40.0
AMIN = 1e-10
CHUNK = 1 << 19  # samples of windows at a time: they and their spectra fit the cache


@dataclass(frozen=True)
class FrontEndConfig:
    """How a segment becomes a picture; window and hop are those of 1 s and scale with it."""

    rate_hz: int
    n_mels: int
    window_s: float
    hop_s: float
    fmin_hz: float
    fmax_hz: float
    top_db: float
    segment_s: float = 1.0

    @property
    def n_fft(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.rate_hz * self.segment_s)

    @property
    def hop(self) -> int:
        """Samples between windows."""
        return int(self.hop_s * self.rate_hz) * round(self.segment_s)

    def as_dict(self) -> dict:
        """For a model's description."""
        return asdict(self)


@cache
def _filters(config: FrontEndConfig) -> Tensor:
    mel = mel_filters(config.rate_hz, config.n_fft, config.n_mels, config.fmin_hz, config.fmax_hz)
    return torch.from_numpy(mel).T.contiguous()  # [bins, bands]


def decibels(segments: Tensor, config: FrontEndConfig) -> Tensor:
    """[n, samples] at ``config.rate_hz`` to [n, bands, 64] in decibels."""
    parts = segments.split(max(1, CHUNK // (FRAMES * config.n_fft)))
    return torch.cat([_decibels(part, config) for part in parts])


def _decibels(segments: Tensor, config: FrontEndConfig) -> Tensor:
    frames = segments.unfold(1, config.n_fft, config.hop)[:, :FRAMES]
    window = torch.hann_window(config.n_fft)
    spectrum = torch.fft.rfft(frames * window)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power @ _filters(config)
    level = 10 * torch.log10(mel.clamp_min(AMIN))
    floor = level.amax(dim=(1, 2), keepdim=True) - config.top_db
    return torch.maximum(level, floor).transpose(1, 2)


def pictures(segments: Tensor, config: FrontEndConfig) -> Tensor:
    """[n, samples] at ``config.rate_hz`` to network input [n, bands, 64]."""
    return decibels(segments, config).sub_(CENTRE_DB).div_(SCALE_DB)


def from_wave(wave: np.ndarray, config: FrontEndConfig) -> Tensor:
    """A recording [samples] at 16 kHz to the pictures of its segments [segments, bands, 64].

    Resampled as a whole, so that segments have no edges of the filter inside.
    """
    count = n_segments(len(wave), RATE_HZ, config.segment_s)
    low = resample(wave, RATE_HZ, config.rate_hz)
    # Rounding at the lower rate must not make or lose a tail that 16 kHz counts.
    samples = count * round(config.rate_hz * config.segment_s)
    low = np.pad(low[:samples], (0, max(0, samples - len(low))))
    segments = cut(low, config.rate_hz, config.segment_s)
    return pictures(torch.from_numpy(segments), config)
