"""Generated sounds at 16 kHz that the tests of the channels share."""

from functools import cache

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.corpora.generate import synthesis


@cache
def cry(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    """[samples] float32 with a peak of about 0.3."""
    rng = np.random.default_rng(seed)
    sound = synthesis.cry(seconds, synthesis.infant_voice(rng), rng)
    wave = resample(0.3 * sound, synthesis.RATE_HZ, RATE_HZ)
    wave.setflags(write=False)
    return wave


@cache
def white(seconds: float = 2.0, rms: float = 0.05) -> np.ndarray:
    """[samples] float32."""
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE_HZ))
    wave = (rms * noise).astype(np.float32)
    wave.setflags(write=False)
    return wave


def tone(hz: float, seconds: float = 1.0, peak: float = 0.3) -> np.ndarray:
    """[samples] float32."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (peak * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(wave, dtype=np.float64) ** 2)))


def db(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def band_db(wave: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Mean power a bin from ``low_hz`` to ``high_hz``, in dB."""
    from scipy.signal import welch

    freqs_hz, power = welch(wave, RATE_HZ, nperseg=1024, detrend=False)
    inside = (freqs_hz >= low_hz) & (freqs_hz <= high_hz)
    return float(10 * np.log10(power[inside].mean() + 1e-20))


def lag_samples(heard: np.ndarray, sent: np.ndarray) -> int:
    """By how much ``heard`` comes later, where the two are most alike."""
    from scipy.signal import correlate

    products = correlate(heard.astype(np.float64), sent.astype(np.float64), method="fft")
    return int(np.argmax(products)) - (len(sent) - 1)
