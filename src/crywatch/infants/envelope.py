"""The spectral envelope of a voice: what formants do to the harmonics of a cry.

Each frame's spectrum is read at its harmonics (the peak in every band that is F0 wide) and
interpolated between them in decibels. At the pitch of a cry, 300 to 600 Hz, cepstral envelopes are
too smooth: on generated cries with known formants they moved a formant by a tenth of what was
asked, these by nine tenths.
"""

from __future__ import annotations

import numpy as np

WINDOW = 512  # samples
HOP = 128
_F0_HZ = (150.0, 1200.0)  # of cries, hyperphonation left out
_SWING = 1.5  # most that a cry's pitch is from its own median; further is an error of an octave
_FLOOR = 1e-5  # of the loudest, below which nothing is heard


def stft(wave: np.ndarray) -> np.ndarray:
    """Complex [bins, frames], frames of `WINDOW` samples every `HOP`."""
    import librosa

    return librosa.stft(wave, n_fft=WINDOW, hop_length=HOP)


def istft(spectrum: np.ndarray, length: int) -> np.ndarray:
    """The wave of ``length`` samples."""
    import librosa

    return librosa.istft(spectrum, n_fft=WINDOW, hop_length=HOP, length=length)


def pitch_hz(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """F0 [frames] of the frames of `stft`, by YIN, near the median of the louder half."""
    import librosa

    grid = {"frame_length": 2 * WINDOW, "hop_length": HOP}
    found = librosa.yin(wave, fmin=_F0_HZ[0], fmax=_F0_HZ[1], sr=rate_hz, **grid)
    level = librosa.feature.rms(y=wave, **grid)[0]
    middle = np.median(found[level >= np.median(level)])
    return np.clip(found, middle / _SWING, middle * _SWING)


def log_envelope(magnitude: np.ndarray, f0_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """Natural log of the envelope of ``magnitude`` [bins, frames] at ``f0_hz`` [frames]."""
    spectrum = np.log(np.maximum(magnitude, _FLOOR * max(magnitude.max(), 1e-12)))
    bins = np.arange(len(spectrum))
    envelope = np.empty_like(spectrum)
    spacing = f0_hz * WINDOW / rate_hz  # bins between harmonics
    for frame, step in enumerate(spacing):
        column = spectrum[:, frame]
        edges = np.round((np.arange(len(bins) // step + 1) + 0.5) * step).astype(int)
        edges = [*edges[edges < len(bins)], len(bins)]
        peaks = [
            first + int(np.argmax(column[first:last]))
            for first, last in zip(edges[:-1], edges[1:], strict=True)
        ]
        envelope[:, frame] = np.interp(bins, peaks, column[peaks])
    return envelope
