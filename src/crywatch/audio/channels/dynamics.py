"""What follows the sound: automatic gain control and spectral noise suppression."""

from __future__ import annotations

import numpy as np

from crywatch.audio.segments import RATE_HZ

BLOCK = 160  # samples, 10 ms: in which the level is taken
GATE_DBFS = -80.0  # what is quieter leaves the gain where it is
WINDOW = 512  # samples, 32 ms, every half of it
SMOOTHING = 0.9  # of the power from one frame to the next
FLOOR_BIAS = 1.64  # mean over least of such a power of white noise in 1.5 s
OVERSUBTRACTION = 2.0  # M. Berouti et al. (1979) take 1 to 5


def controlled(
    wave: np.ndarray,
    *,
    target_dbfs: float,
    attack_s: float,
    release_s: float,
    max_gain_db: float,
) -> np.ndarray:
    """``wave`` [samples at 16 kHz] with a gain that moves its level to ``target_dbfs``.

    The level of blocks of 10 ms is followed with the time constant ``attack_s`` upwards and
    ``release_s`` downwards; the gain is the target less that level, within +-``max_gain_db``, and
    moves linearly between blocks. Blocks under -80 dBFS do not move it.
    """
    count = -(-len(wave) // BLOCK)
    blocks = np.pad(wave, (0, count * BLOCK - len(wave))).reshape(count, BLOCK)
    levels = 10 * np.log10(np.mean(blocks.astype(np.float64) ** 2, axis=1) + 1e-20)
    attack, release = (1 - np.exp(-BLOCK / RATE_HZ / time_s) for time_s in (attack_s, release_s))
    loud = np.flatnonzero(levels > GATE_DBFS)
    followed, envelope = float(levels[loud[0]]) if len(loud) else target_dbfs, np.empty(count)
    for place, level in enumerate(levels.tolist()):
        if level > GATE_DBFS:
            followed += (attack if level > followed else release) * (level - followed)
        envelope[place] = followed
    gains = 10 ** (np.clip(target_dbfs - envelope, -max_gain_db, max_gain_db) / 20)
    centres = (np.arange(count) + 0.5) * BLOCK
    return (wave * np.interp(np.arange(len(wave)), centres, gains)).astype(np.float32)


def suppressed(wave: np.ndarray, *, max_db: float, window_s: float) -> np.ndarray:
    """``wave`` [samples at 16 kHz] less what is steady in it, at most ``max_db`` in a band.

    The noise of a band is the least of its smoothed power within the last ``window_s``, times a
    bias (minimum statistics, R. Martin, 2001); the gain is 1 - 2 noise / power, and takes
    ``max_db`` at most. In the first window the least of all of it holds: the device has been
    listening before.
    """
    from scipy.ndimage import minimum_filter1d
    from scipy.signal import lfilter

    hop = WINDOW // 2
    count = -(-len(wave) // hop) + 1
    padded = np.pad(wave, (hop, count * hop - len(wave)))
    halves = padded.reshape(-1, hop)
    window = np.sqrt(np.hanning(WINDOW + 1)[:-1]).astype(np.float32)
    frames = np.concatenate([halves[:-1], halves[1:]], axis=1) * window
    spectra = np.fft.rfft(frames)  # [frames, bins]
    power = np.abs(spectra) ** 2 + 1e-20
    start = (SMOOTHING * power[:1]).astype(power.dtype)
    smooth, _ = lfilter([1 - SMOOTHING], [1, -SMOOTHING], power, axis=0, zi=start)
    span = max(1, round(window_s * RATE_HZ / hop))
    least = minimum_filter1d(smooth, span, axis=0, origin=(span - 1) // 2)
    least[: span - 1] = smooth[:span].min(axis=0)
    gains = np.maximum(1 - OVERSUBTRACTION * FLOOR_BIAS * least / smooth, 10 ** (-max_db / 20))
    cleaned = np.fft.irfft(spectra * gains, WINDOW) * window
    out = np.zeros_like(halves, dtype=np.float64)
    out[:-1] += cleaned[:, :hop]
    out[1:] += cleaned[:, hop:]
    return out.reshape(-1)[hop : hop + len(wave)].astype(np.float32)
