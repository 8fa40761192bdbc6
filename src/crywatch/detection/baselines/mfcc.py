"""MFCC pictures as TensorFlow's tutorial on audio recognition makes them, as a layer of a network.

Windows of 30 ms every 10 ms, 40 mel bands from 20 to 4,000 Hz on magnitudes, the logarithm, a DCT
(``audio_ops.audio_spectrogram`` and ``audio_ops.mfcc``): 98 frames of 40 coefficients of a second.
The Fourier transform is a product with cosines and sines: a network that begins with this layer is
one graph of products, a square root and a logarithm, which any runtime of a phone has. librosa's
features, which the case study tried to write anew in Java, are not.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ

WINDOW, HOP, N_FFT = 480, 160, 512  # samples
N_COEFFICIENTS = 40  # as many as mel bands
FMIN_HZ, FMAX_HZ = 20.0, 4000.0
FLOOR = 1e-12


def frames(seconds: float) -> int:
    """Of a sound of ``seconds``: 98 of one second."""
    return (round(seconds * RATE_HZ) - WINDOW) // HOP + 1


class Mfcc(nn.Module):
    """Waves [n, samples] at 16 kHz to pictures [n, frames, 40]; nothing of it is trained."""

    fourier: Tensor  # [480, 2 * bins]
    mel: Tensor  # [bins, 40]
    dct: Tensor  # [40, 40]

    def __init__(self) -> None:
        super().__init__()
        mel = mel_filters(RATE_HZ, N_FFT, N_COEFFICIENTS, FMIN_HZ, FMAX_HZ, htk=True).T
        self.bins = int(np.flatnonzero(mel.any(axis=1))[-1]) + 1  # those above are in no band
        bands = np.arange(N_COEFFICIENTS)
        angles = np.pi / N_COEFFICIENTS * np.outer(bands + 0.5, bands)
        # Known beforehand, and so in no file of weights.
        for name, values in {
            "fourier": _fourier(self.bins),
            "mel": mel[: self.bins],
            "dct": np.sqrt(2 / N_COEFFICIENTS) * np.cos(angles),
        }.items():
            tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """[n, samples] to [n, frames, 40]."""
        spectrum = waves.unfold(1, WINDOW, HOP) @ self.fourier
        power = spectrum[..., : self.bins].square() + spectrum[..., self.bins :].square()
        return (power.sqrt() @ self.mel).clamp_min(FLOOR).log() @ self.dct


def _fourier(bins: int) -> np.ndarray:
    """[480, 2 * bins]: the real parts of the Hann window's transform, then the imaginary ones."""
    times = np.arange(WINDOW)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * times / WINDOW)
    angles = 2 * np.pi / N_FFT * np.outer(times, np.arange(bins))
    return window[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
