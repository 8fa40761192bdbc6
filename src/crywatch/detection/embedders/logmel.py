"""Mean and deviation over a second of 64 log-mel bands: 128 numbers that need no weights."""

from __future__ import annotations

from functools import cache

import numpy as np

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ
from crywatch.core.digest import value_sha256
from crywatch.detection.embedders.base import Embedder

BANDS = 64
FMIN_HZ, FMAX_HZ = 125.0, 7500.0
WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 ms, 10 ms
LOG_OFFSET = 0.01
VERSION = 1


@cache
def _mel() -> np.ndarray:
    return mel_filters(RATE_HZ, N_FFT, BANDS, FMIN_HZ, FMAX_HZ, htk=True)


class LogMel(Embedder):
    """VGGish's spectrogram (25 ms, 10 ms, 125 to 7500 Hz, log offset 0.01), averaged."""

    @property
    def digest(self) -> str:
        """Of the settings above."""
        return value_sha256(["logmel", BANDS, FMIN_HZ, FMAX_HZ, WINDOW, HOP, LOG_OFFSET, VERSION])

    def embed_seconds(self, seconds: np.ndarray) -> np.ndarray:
        """[n, 16000] to [n, 128]: 64 means, then 64 standard deviations, of the log-mel bands."""
        window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(seconds, WINDOW, axis=1)[:, ::HOP]
        out = np.empty((len(seconds), 2 * BANDS), dtype=np.float32)
        for start in range(0, len(seconds), 32):  # bounds the memory of the spectra
            spectra = np.fft.rfft(frames[start : start + 32] * window, N_FFT)
            magnitude = np.sqrt(spectra.real**2 + spectra.imag**2)
            # In float64: the last bits of float32 sums and logarithms are the processor's.
            level = np.log(magnitude.astype(np.float64) @ _mel().T + LOG_OFFSET)
            out[start : start + 32, :BANDS] = level.mean(axis=1)
            out[start : start + 32, BANDS:] = level.std(axis=1)
        return out
