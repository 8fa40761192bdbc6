"""The level-free picture as constants: what a graph, or a program in C, makes it with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crywatch.audio.mel import mel_filters
from crywatch.core.errors import ModelError
from crywatch.detection.blazenet.frontend import MEAN_DB, FrontEndConfig


@dataclass(frozen=True)
class Picture:
    """Scale ``mean`` of `crywatch.detection.blazenet.frontend`, of one second."""

    rate_hz: int
    n_fft: int
    hop: int  # samples
    top_db: float
    scale_db: float  # the picture is in units of it
    window: np.ndarray  # [n_fft] float64
    filters: np.ndarray  # [bands, bins] float32

    @property
    def kernel(self) -> np.ndarray:
        """[2 bins, n_fft] float32: cosines, then sines, under the window."""
        bins, samples = np.arange(self.n_fft // 2 + 1), np.arange(self.n_fft)
        # Of whole turns: the angles are exact.
        turns = np.outer(bins, samples) % self.n_fft / self.n_fft
        waves = np.concatenate([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)])
        return (waves * self.window).astype(np.float32)


def picture_of(front_end: FrontEndConfig) -> Picture:
    """ModelError where the model's pictures are of another kind."""
    if front_end.scale != "mean" or front_end.band_share or front_end.segment_s != 1:
        raise ModelError(
            f"the model's pictures have scale {front_end.scale!r}, band_share "
            f"{front_end.band_share:g} and {front_end.segment_s:g} s: a model is exported that "
            "has `robust_front_end: level_free`, as those of train_robust"
        )
    n_fft = front_end.n_fft
    band = (front_end.fmin_hz, front_end.fmax_hz)
    return Picture(
        rate_hz=front_end.rate_hz,
        n_fft=n_fft,
        hop=front_end.hop,
        top_db=front_end.top_db,
        scale_db=MEAN_DB,
        window=0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft),
        filters=mel_filters(front_end.rate_hz, n_fft, front_end.n_mels, *band),
    )
