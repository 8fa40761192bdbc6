"""Decoded frames of a sound track: what does not decode is passed over, and its time is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crywatch.audio.decode.container import MAX_RATE_HZ, MIN_RATE_HZ, Track
from crywatch.audio.decode.headers import TAGS

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, Packet

DTYPES = {
    f"{name}{planar}": np.dtype(kind)
    for name, kind in {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}.items()
    for planar in ("", "p")
}
MANY_ZEROS = 16  # bytes, which are damage
MAX_PLANES = 7  # of more, PyAV's arrays read memory that is not theirs


class Kind(NamedTuple):
    """What frames have alike whose samples can be one array."""

    planar: bool
    channels: int
    rate_hz: int
    dtype: np.dtype


class Frame(NamedTuple):
    """Some samples, as they were decoded."""

    samples: np.ndarray  # [channels, samples], or [1, samples x channels] of an interleaved one
    kind: Kind
    length: int  # samples of a channel
    stamp: int | None  # ticks of its track
    lost_s: float | None  # what did not decode before it lasted about so long; None: nothing


class Frames:
    """The frames of ``track``."""

    def __init__(self, track: Track):
        self._track = track
        self.lost_s: float | None = None  # of what did not decode since the last frame
        self._packets, self._bytes, self._s = 0, 0, 0.0  # of what decoded
        self._packer: AudioResampler | None = None
        self._kind = Kind(False, 0, 0, np.dtype(np.float32))  # of the last frame

    def __iter__(self) -> Iterator[Frame]:
        import av

        errors = (av.error.FFmpegError, OSError, ValueError)
        track = self._track
        holes, given = track.holes(), 0  # bytes of packets
        for packet in track.packets():
            if track.failed:
                self._lose(0.0)
            if holes and holes[0][0] <= given:
                self._lose(self._s_of_bytes(holes.pop(0)[1]))
            size = packet.size
            given += size
            if track.is_bare and size * self._packets > 2 * self._bytes:
                content = bytes(packet)  # of MP3, zeros may come before a frame
                size = len(content.lstrip(b"\0"))
                if content and len(content) - size >= MANY_ZEROS:
                    self._lose(self._s_of_bytes(len(content) - size))
            try:
                frames = packet.decode()
            except errors:
                if not bytes(packet).startswith(TAGS):
                    self._lose(self._lasts_s(packet))
                continue
            for raw in frames:
                try:
                    frame = self._frame(raw)
                except errors:  # of 64-bit integers there is no array either
                    self._lose(0.0)
                    continue
                self.lost_s = None
                self._s += frame.length / frame.kind.rate_hz
                yield frame
            if frames:
                self._packets += 1
                self._bytes += size

    def _lose(self, seconds: float) -> None:
        self.lost_s = (self.lost_s or 0.0) + seconds

    def _lasts_s(self, packet: Packet) -> float:
        """How long ``packet`` would have sounded."""
        if self._track.is_bare and self._bytes:
            return self._s_of_bytes(packet.size)  # it may be many, of which no header is left
        return (packet.duration or 0) * self._track.tick_s

    def _s_of_bytes(self, count: int) -> float:
        return count * self._s / self._bytes if self._bytes else 0.0

    def _frame(self, frame: Any) -> Frame:
        form, channels, rate_hz = frame.format, frame.layout.nb_channels, frame.rate
        planar, stamp, length = form.is_planar, frame.pts, frame.samples
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ValueError(f"a frame of {rate_hz} Hz")
        dtype = DTYPES.get(form.name)
        if dtype is None:
            raise ValueError(f"samples of {form.name}")
        if planar and channels > MAX_PLANES:
            planar, frame = False, self._packed(frame)
        if planar and channels > 1:
            samples = np.empty((channels, length), dtype)
            for row, plane in zip(samples, frame.planes, strict=True):
                row[:] = np.frombuffer(plane, dtype, length)
        else:
            samples = np.frombuffer(frame.planes[0], dtype, length * channels)[None]
        kind = Kind(planar, channels, rate_hz, dtype)
        if kind != self._kind:
            self._kind = kind
        return Frame(samples, self._kind, length, stamp, self.lost_s)

    def _packed(self, frame: AudioFrame) -> AudioFrame:
        """The same samples, interleaved."""
        import av

        packed = frame.format.name.removesuffix("p")
        if self._packer is None or self._packer.layout != frame.layout:
            self._packer = av.AudioResampler(packed, frame.layout, frame.rate)
        (frame,) = self._packer.resample(frame)
        return frame
