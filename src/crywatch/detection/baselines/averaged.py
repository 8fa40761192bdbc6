"""The case study's 18 numbers a window: features of librosa's frames, averaged over the frames.

The study names the features and librosa, and says that a frame is about 10 ms long. It leaves the
settings open; here they are those of the repository it starts from (giulbia/baby_cry_detection):
librosa's own (2,048 samples every 512), and the roll-off at 90 % of the energy. The study's clips
are at 44.1 kHz, the cleaned ones at 16 kHz: a frame is 32 ms here.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from crywatch.audio.compiled import librosa
from crywatch.audio.segments import RATE_HZ

N_MFCC = 13
ROLL_OFF = 0.90  # of the magnitude
N_FFT, HOP = 2048, 512  # samples
NAMES = ("zero_crossing_rate", "rms", *(f"mfcc_{n}" for n in range(1, N_MFCC + 1)))
NAMES += ("centroid_hz", "roll_off_hz", "bandwidth_hz")


def averages(wave: np.ndarray) -> np.ndarray:
    """[samples] at 16 kHz to the means [18] of `NAMES` over all frames, float64.

    The spectral ones are `librosa.feature`'s, computed together from one spectrum: called one by
    one they take ten times as long.
    """
    feature, power_to_db = librosa().feature, librosa().power_to_db
    magnitude = np.abs(librosa().stft(wave, n_fft=N_FFT, hop_length=HOP))  # [bins, frames]
    rms = feature.rms(y=wave, frame_length=N_FFT, hop_length=HOP)
    crossings = feature.zero_crossing_rate(wave, frame_length=N_FFT, hop_length=HOP)
    mel_db = power_to_db(_filters() @ magnitude**2)
    mfcc = feature.mfcc(S=mel_db, sr=RATE_HZ, n_mfcc=N_MFCC)
    head = np.concatenate([crossings, rms, mfcc]).mean(axis=1, dtype=np.float64)
    return np.concatenate([head, _shape(magnitude)])


def _shape(magnitude: np.ndarray) -> np.ndarray:
    """[bins, frames] to the means [3] of centroid, roll-off and bandwidth, in Hz."""
    hz = np.linspace(0, RATE_HZ / 2, len(magnitude), dtype=np.float32)
    totals = magnitude.sum(axis=0)
    share = magnitude / np.where(totals > 0, totals, 1)
    centroid = hz @ share
    # By moments; rounding must not make the variance of a pure tone negative.
    bandwidth = np.sqrt(np.maximum((hz**2) @ share - centroid**2 * share.sum(axis=0), 0))
    reached = np.cumsum(magnitude, axis=0) >= ROLL_OFF * totals
    roll_off = hz[reached.argmax(axis=0)]
    means = (centroid, roll_off, bandwidth)
    return np.array([values.mean(dtype=np.float64) for values in means])


@cache
def _filters() -> np.ndarray:
    return librosa().filters.mel(sr=RATE_HZ, n_fft=N_FFT)  # [bands, bins]
