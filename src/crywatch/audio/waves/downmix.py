"""One channel of several: their mean, where that keeps what is heard.

What is loud in a channel is not silent: channels that cancel give the loudest of them. What is
constant is silent: a bias is taken off, a value that is stuck is none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

LOUDEST = 100.0  # +40 dB over full scale: what is louder is no sound
WINDOW_S = 10.0  # heard before a bias is known
WINDOW_VALUES = 1 << 21  # at most, of all channels
BIAS_FRAME_S = 0.1
BIAS_FRAMES = 4  # at least
MIN_BIAS = 0.01  # of full scale, -40 dBFS
BIAS_SPREAD = 0.25  # of the bias: how much its frames may differ
QUIET = 0.1  # of the frames: in them the bias is what is heard,
MIN_BIAS_TO_QUIET = 4.0  # by so much
STUCK_S = 0.1  # a value that lasts so long is no sound
STUCK_STEPS = 8  # of such a run that are looked at first
CANCELLED = 0.1  # of the power that the mean of unrelated channels has
MIN_RMS = 1e-3  # of full scale: quieter channels are not worth a choice


class Downmix:
    """Blocks [channels, samples] of one recording as blocks [samples], some seconds later.

    >>> mix = Downmix(16_000)
    >>> [block.tolist() for block in (*mix(np.float32([[1, 0], [0, 1]])), *mix.rest())]
    [[0.5, 0.5]]
    """

    def __init__(self, rate_hz: int):
        self._window = round(WINDOW_S * rate_hz)
        self._frame = max(1, round(BIAS_FRAME_S * rate_hz))
        self._run = max(STUCK_STEPS, round(STUCK_S * rate_hz))
        self._blocks: list[np.ndarray] = []
        self._count = 0  # samples in them
        self._bias = np.zeros(0, dtype=np.float32)  # [channels]
        self._cancels = False  # the channels of the last block that was long enough to tell

    def __call__(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """What is known after ``block`` [channels, samples] float32."""
        if self._blocks and len(block) != len(self._blocks[0]):
            yield from self.rest()
        self._blocks.append(block)
        self._count += block.shape[1]
        if self._count >= min(self._window, WINDOW_VALUES // len(block)):
            yield from self.rest()

    def rest(self) -> Iterator[np.ndarray]:
        """What is still to come of the blocks so far."""
        blocks, self._blocks, self._count = self._blocks, [], 0
        if not blocks:
            return
        if len(self._bias) != len(blocks[0]):
            self._bias = np.zeros(len(blocks[0]), dtype=np.float32)
        stuck = [self._stuck(block) for block in blocks]
        self._bias = self._next_bias(blocks, stuck)
        for block, constant in zip(blocks, stuck, strict=True):
            yield self._mono(self._plain(block, constant))

    def _plain(self, block: np.ndarray, stuck: np.ndarray | None) -> np.ndarray:
        """``block`` without bias and stuck values; itself if it has none."""
        if self._bias.any():
            block = block - self._bias[:, None]
        if stuck is not None:
            block = np.where(stuck, np.float32(0), block)
        return block

    def _stuck(self, block: np.ndarray) -> np.ndarray | None:
        """Where a channel has one loud value for long: [channels, samples]; None if nowhere."""
        few = block[:, :: self._run // STUCK_STEPS]
        same = (few[:, 1:] == few[:, :-1]) & (np.abs(few[:, 1:]) >= MIN_BIAS)
        for _ in range(STUCK_STEPS - 3):  # so many in a row, of those that a run must hold
            same = same[:, 1:] & same[:, :-1]
        if not same.any():
            return None
        stuck = np.zeros(block.shape, dtype=bool)
        for row, values in zip(stuck, block, strict=True):
            edges = np.flatnonzero(np.diff(values, prepend=np.nan, append=np.nan))
            lasts = np.diff(edges) >= self._run
            for start, end in np.stack([edges[:-1], edges[1:]], axis=1)[lasts].tolist():
                row[start:end] = abs(values[start]) >= MIN_BIAS
        return stuck if stuck.any() else None

    def _next_bias(self, blocks: list[np.ndarray], stuck: list) -> np.ndarray:
        """[channels]: what the frames of each agree about, and its quiet ones are well below.

        Where they do not agree: the bias so far, if that is nearer to them than none.
        """
        means = np.hstack([self._means(*pair) for pair in zip(blocks, stuck, strict=True)])
        bias = np.zeros(len(means), dtype=np.float32)
        for channel, before in enumerate(self._bias.tolist()):
            known = means[channel][~np.isnan(means[channel])]
            if len(known) < BIAS_FRAMES:
                bias[channel] = before
                continue
            median = float(np.median(known))
            if abs(median) < MIN_BIAS:
                continue
            spread = np.median(np.abs(known - median))
            if spread <= BIAS_SPREAD * abs(median) and self._is_heard(median, channel, blocks):
                bias[channel] = median
            elif abs(median - before) < abs(median):
                bias[channel] = before
        return bias

    def _means(self, block: np.ndarray, stuck: np.ndarray | None) -> np.ndarray:
        """[channels, frames]; NaN of those with a value that is stuck."""
        whole = block.shape[1] // self._frame * self._frame
        ones = np.full(self._frame, 1 / self._frame, dtype=np.float32)
        if block.flags.c_contiguous:
            means = block[:, :whole].reshape(len(block), -1, self._frame) @ ones
        else:  # interleaved
            means = (ones @ block.T[:whole].reshape(-1, self._frame, len(block))).T
        if stuck is not None:
            frames = stuck[:, :whole].reshape(len(block), -1, self._frame)
            means = np.where(frames.any(axis=2), np.nan, means)
        return means

    def _is_heard(self, bias: float, channel: int, blocks: list[np.ndarray]) -> bool:
        """Whether in the quiet frames the bias is what is loud."""
        levels = []
        for block in blocks:
            whole = block.shape[1] // self._frame * self._frame
            levels.append(block[channel, :whole].reshape(-1, self._frame).std(axis=1))
        return abs(bias) >= MIN_BIAS_TO_QUIET * np.quantile(np.concatenate(levels), QUIET)

    def _mono(self, block: np.ndarray) -> np.ndarray:
        if len(block) == 1:
            return block[0]
        mean = block.mean(axis=0)
        if block.shape[1] >= self._frame:
            flat = block.ravel("K")
            power, unrelated = np.dot(mean, mean), np.dot(flat, flat) / len(block) ** 2
            loud = unrelated * len(block) >= MIN_RMS**2 * len(mean)
            self._cancels = bool(loud and power < CANCELLED * unrelated)
        if not self._cancels:
            return mean
        return block[np.einsum("ct,ct->c", block, block).argmax()]


def to_mono(channels: np.ndarray, rate_hz: int) -> np.ndarray:
    """A whole sound [channels, samples] as [samples] float32."""
    mix = Downmix(rate_hz)
    return np.concatenate([*mix(np.asarray(channels, dtype=np.float32)), *mix.rest()])
