"""The spectral envelope of a voice: what formants do to the harmonics of a cry.

Each frame's spectrum is read at its harmonics (the peak in every band that is F0 wide) and
interpolated between them in decibels. At the pitch of a cry, 300 to 600 Hz, cepstral envelopes are
too smooth: on generated cries with known formants they moved a formant by a tenth of what was
asked, these by nine tenths.
"""

from __future__ import annotations

import numpy as np

from crywatch.audio.compiled import librosa

WINDOW = 512  # samples
HOP = 128
_F0_HZ = (150.0, 1200.0)  # of cries, hyperphonation left out
_SWING = 1.5  # most that a cry's pitch is from its own median; further is an error of an octave
_FLOOR = 1e-5  # of the loudest, below which nothing is heard


def stft(wave: np.ndarray) -> np.ndarray:
    """Complex [bins, frames], frames of `WINDOW` samples every `HOP`."""
    return librosa().stft(wave, n_fft=WINDOW, hop_length=HOP)


def istft(spectrum: np.ndarray, length: int) -> np.ndarray:
    """The wave of ``length`` samples."""
    return librosa().istft(spectrum, n_fft=WINDOW, hop_length=HOP, length=length)


def pitch_hz(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """F0 [frames] of the frames of `stft`, by YIN, near the median of the louder half."""
    length = 2 * WINDOW
    low_hz, high_hz = _F0_HZ
    f0_hz = librosa().yin(
        wave, fmin=low_hz, fmax=high_hz, sr=rate_hz, frame_length=length, hop_length=HOP
    )
    level = librosa().feature.rms(y=wave, frame_length=length, hop_length=HOP)[0]
    middle_hz = np.median(f0_hz[level >= np.median(level)])
    return np.clip(f0_hz, middle_hz / _SWING, middle_hz * _SWING)


def log_envelope(magnitude: np.ndarray, f0_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """Natural log of the envelope of ``magnitude`` [bins, frames] at ``f0_hz`` [frames]."""
    spectrum = np.log(np.maximum(magnitude, _FLOOR * max(magnitude.max(), 1e-12)))
    columns = np.ascontiguousarray(spectrum.T)
    bins = np.arange(columns.shape[1])
    envelope = np.empty_like(columns)
    for frame, peaks in enumerate(_peaks(columns, f0_hz * WINDOW / rate_hz)):
        envelope[frame] = np.interp(bins, peaks, columns[frame, peaks])
    return envelope.T


def _peaks(columns: np.ndarray, spacing: np.ndarray) -> list[np.ndarray]:
    """The bins of each frame's highest values between harmonics that are ``spacing`` bins apart.

    ``columns`` [frames, bins]. All bands of all frames at once: they are tens of thousands a cry.
    """
    bins = columns.shape[1]
    edges = [np.round((np.arange(bins // step + 1) + 0.5) * step).astype(int) for step in spacing]
    edges = [own[own < bins] for own in edges]
    # What lies below a frame's first band is a band of its own, that is dropped again.
    starts = np.concatenate([np.append(0, own) + bins * row for row, own in enumerate(edges)])
    flat = columns.reshape(-1)
    widths = np.diff(np.append(starts, flat.size))
    highest = np.repeat(np.maximum.reduceat(flat, starts), widths)
    place = np.where(flat == highest, np.arange(flat.size), flat.size)
    peaks = np.minimum.reduceat(place, starts) % bins
    ends = np.cumsum([len(own) + 1 for own in edges])
    return [peaks[last - len(own) : last] for last, own in zip(ends, edges, strict=True)]
