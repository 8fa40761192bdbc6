"""Decoded frames of a sound track: what does not decode is passed over, and its time is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from crywatch.audio.decode.container import MAX_RATE_HZ, MIN_RATE_HZ, Track
from crywatch.audio.decode.headers import TAGS

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, Packet

MAX_PLANES = 7  # of more, PyAV's arrays read memory that is not theirs


@dataclass(frozen=True)
class Frame:
    """Some samples, as they were decoded."""

    samples: np.ndarray  # [channels, samples], or [1, samples x channels] of an interleaved one
    planar: bool
    channels: int
    rate_hz: int
    stamp: int | None  # ticks of its track
    lost_s: float | None  # what did not decode before it lasted about so long; None: nothing

    @property
    def count(self) -> int:
        """Samples of a channel."""
        return self.samples.shape[1] // (1 if self.planar else self.channels)

    def is_like(self, other: Frame) -> bool:
        """Whether their samples can be one array."""
        ours, theirs = (
            (frame.planar, frame.channels, frame.rate_hz, frame.samples.dtype)
            for frame in (self, other)
        )
        return ours == theirs


class Frames:
    """The frames of ``track``."""

    def __init__(self, track: Track):
        self._track = track
        self.lost_s: float | None = None  # of what did not decode since the last frame
        self._bytes, self._s = 0, 0.0  # of what decoded
        self._packer: AudioResampler | None = None

    def __iter__(self) -> Iterator[Frame]:
        import av

        errors = (av.error.FFmpegError, OSError, ValueError)
        for packet in self._track.packets():
            if self._track.failed:
                self._lose(0.0)
            frames: list[AudioFrame] = []
            try:
                frames = cast("list[AudioFrame]", packet.decode())
            except errors:
                if not bytes(packet).startswith(TAGS):
                    self._lose(self._lasts_s(packet))
            for raw in frames:
                try:
                    frame = self._frame(raw)
                except errors:  # of 64-bit integers PyAV makes no array
                    self._lose(0.0)
                    continue
                self.lost_s = None
                self._s += frame.count / frame.rate_hz
                yield frame
            if frames:
                self._bytes += packet.size

    def _lose(self, seconds: float) -> None:
        if self.lost_s is None:
            seconds += self._s_of_bytes(self._track.passed_over())
        self.lost_s = (self.lost_s or 0.0) + seconds

    def _lasts_s(self, packet: Packet) -> float:
        """How long ``packet`` would have sounded."""
        if self._track.is_bare and self._bytes:
            return self._s_of_bytes(packet.size)  # it may be many, of which no header is left
        return (packet.duration or 0) * self._track.tick_s

    def _s_of_bytes(self, count: int) -> float:
        return count * self._s / self._bytes if self._bytes else 0.0

    def _frame(self, frame: AudioFrame) -> Frame:
        import av

        channels, planar, rate_hz = frame.layout.nb_channels, frame.format.is_planar, frame.rate
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ValueError(f"a frame of {rate_hz} Hz")
        stamp = frame.pts
        if planar and channels > MAX_PLANES:
            planar = False
            packed = frame.format.name.removesuffix("p")
            if self._packer is None or self._packer.layout != frame.layout:
                self._packer = av.AudioResampler(packed, frame.layout, rate_hz)
            (frame,) = self._packer.resample(frame)
        return Frame(frame.to_ndarray(), planar, channels, rate_hz, stamp, self.lost_s)
