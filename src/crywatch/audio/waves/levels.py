"""How loud a sound is, and up to which frequency it sounds."""

from __future__ import annotations

import numpy as np

SILENCE_DBFS = -200.0  # stands for a level of minus infinity
BANDWIDTH_FRAME = 2048  # samples
BANDWIDTH_FRAMES = 256  # at most, spread over the recording
BANDWIDTH_BELOW_PEAK_DB = 60.0


def level_dbfs(value: float) -> float:
    """An amplitude in 0..1 as decibels below full scale; silence is ``SILENCE_DBFS``."""
    # Rounded: the last bit of a logarithm is the processor's.
    return round(float(20 * np.log10(value)), 6) if value > 1e-10 else SILENCE_DBFS


class BandwidthMeter:
    """The measured bandwidth of a recording from frames spread over it.

    The bandwidth is the highest frequency at which the mean power spectrum (Hann, 2048 samples,
    over the loudest half of the frames) is within 60 dB of its peak. A narrow-band recording in a
    wide-band container therefore shows its true band. 0 for silence.
    """

    def __init__(self, rate_hz: int):
        self.rate_hz = rate_hz
        self._spectra: list[np.ndarray] = []
        self._every = 1  # of the frames that come by, one in so many is kept
        self._n_seen = 0
        self._window = np.hanning(BANDWIDTH_FRAME).astype(np.float32)

    def add(self, block: np.ndarray) -> None:
        """Take frames of ``block`` [samples]; the number kept is bounded."""
        if len(block) == 0:
            return
        if len(block) < BANDWIDTH_FRAME:
            block = np.pad(block, (0, BANDWIDTH_FRAME - len(block)))
        count = min(len(block) // BANDWIDTH_FRAME, 64)
        starts = np.linspace(0, len(block) - BANDWIDTH_FRAME, count).astype(int)
        starts = starts[(self._n_seen + np.arange(count)) % self._every == 0]
        self._n_seen += count
        if len(starts):
            frames = np.stack([block[start : start + BANDWIDTH_FRAME] for start in starts])
            # Copies: a row that is kept must not keep alive those that are dropped.
            power = np.abs(np.fft.rfft(frames * self._window)) ** 2
            self._spectra.extend(row.copy() for row in power)
        while len(self._spectra) > BANDWIDTH_FRAMES:
            # Half as dense from here on, and so far: they stay spread over the whole.
            self._spectra = self._spectra[::2]
            self._every *= 2

    def result_hz(self) -> float:
        """The bandwidth so far, in Hz."""
        if not self._spectra:
            return 0.0
        spectra = np.stack(self._spectra)
        power = spectra.sum(axis=1)
        mean = spectra[power >= np.median(power)].mean(axis=0)
        peak = mean.max()
        if peak <= 1e-12:
            return 0.0
        floor = peak * 10 ** (-BANDWIDTH_BELOW_PEAK_DB / 10)
        highest = int(np.flatnonzero(mean >= floor)[-1])
        return float(highest * self.rate_hz / BANDWIDTH_FRAME)


def bandwidth_hz(wave: np.ndarray, rate_hz: int) -> float:
    """Measured bandwidth of ``wave`` [samples]; see `BandwidthMeter`."""
    meter = BandwidthMeter(rate_hz)
    meter.add(wave)
    return meter.result_hz()
