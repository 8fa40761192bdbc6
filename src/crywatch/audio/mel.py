"""Mel filters, as librosa has them; librosa itself is not needed to detect crying."""

from __future__ import annotations

import numpy as np

# Slaney's Auditory Toolbox: linear up to 1 kHz, then 27 bands for every factor of 6.4.
_LINEAR_HZ = 200.0 / 3  # a mel
_CORNER_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0


def mel_filters(
    rate_hz: int,
    n_fft: int,
    n_mels: int = 128,
    fmin_hz: float = 0.0,
    fmax_hz: float | None = None,
    htk: bool = False,
) -> np.ndarray:
    """Triangles [n_mels, 1 + n_fft / 2] float32, bit for bit those of `librosa.filters.mel`.

    On Slaney's scale each has an area of one; with ``htk`` they lie on HTK's scale and have a
    height of one. ``fmax_hz`` is half the rate by default; bands above that are empty.
    """
    fmax_hz = rate_hz / 2 if fmax_hz is None else fmax_hz
    to_mel, to_hz = (_htk_mel, _htk_hz) if htk else (_slaney_mel, _slaney_hz)
    corners = to_hz(np.linspace(to_mel(fmin_hz), to_mel(fmax_hz), n_mels + 2))
    bins_hz = np.fft.rfftfreq(n=n_fft, d=1.0 / rate_hz)
    ramps = np.subtract.outer(corners, bins_hz)
    widths = np.diff(corners)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if not htk:
        weights *= (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return weights


def _slaney_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return _CORNER_HZ / _LINEAR_HZ + np.log(hz / _CORNER_HZ) / _LOG_STEP


def _slaney_hz(mels: np.ndarray) -> np.ndarray:
    corner = _CORNER_HZ / _LINEAR_HZ
    high = _CORNER_HZ * np.exp(_LOG_STEP * (mels - corner))
    return np.where(mels >= corner, high, _LINEAR_HZ * mels)


def _htk_mel(hz: float) -> float:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_hz(mels: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
