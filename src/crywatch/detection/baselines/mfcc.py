"""MFCC pictures of one second as TensorFlow's tutorial on audio recognition makes them.

Windows of 30 ms every 10 ms, 40 mel bands from 20 to 4,000 Hz on magnitudes, the logarithm, a DCT
(``audio_ops.audio_spectrogram`` and ``audio_ops.mfcc``): 98 frames of 40 coefficients.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ

WINDOW, HOP, N_FFT = 480, 160, 512  # samples
N_COEFFICIENTS = 40  # as many as mel bands
FRAMES = (RATE_HZ - WINDOW) // HOP + 1  # of a second: 98
FMIN_HZ, FMAX_HZ = 20.0, 4000.0
FLOOR = 1e-12


@cache
def _filters() -> Tensor:
    mel = mel_filters(RATE_HZ, N_FFT, N_COEFFICIENTS, FMIN_HZ, FMAX_HZ, htk=True)
    return torch.from_numpy(mel).T.contiguous()  # [bins, bands]


@cache
def _cosines() -> Tensor:
    """[bands, coefficients] of the DCT, scaled by sqrt(2 / bands)."""
    bands = np.arange(N_COEFFICIENTS)
    angles = np.pi / N_COEFFICIENTS * np.outer(bands + 0.5, bands)
    return torch.from_numpy((np.sqrt(2 / N_COEFFICIENTS) * np.cos(angles)).astype(np.float32))


def pictures(seconds: Tensor) -> Tensor:
    """[n, 16000] at 16 kHz to [n, 98, 40]."""
    frames = seconds.unfold(1, WINDOW, HOP) * torch.hann_window(WINDOW)
    magnitude = torch.fft.rfft(frames, n=N_FFT).abs()
    return (magnitude @ _filters()).clamp_min(FLOOR).log() @ _cosines()
