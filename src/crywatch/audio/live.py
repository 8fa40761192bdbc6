"""Sound as it comes, from a stream or a pipe: nothing is sought, and nothing waited for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from crywatch.audio.decode.container import MAX_RATE_HZ, MIN_RATE_HZ, PLAYLISTS
from crywatch.audio.decode.frames import Frame, Frames, Kind
from crywatch.audio.ffmpeg import force_plain_code
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.downmix import LOUDEST, Downmix
from crywatch.audio.waves.resampling import Resampler
from crywatch.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import InputContainer

PIECE_S = 0.05  # of sound, about
SKIP_S = 0.1  # rounding of time stamps
PROBED_BYTES, PROBED_S = 1 << 19, 2.0  # of a stream, until it must be known
OPEN = {"open": True}
Piece = np.ndarray | dict[str, Any]
QUICK = {
    "probesize": str(PROBED_BYTES),
    "analyzeduration": str(round(PROBED_S * 1e6)),
    "ignore_length": "1",  # of WAV through a pipe, whose header does not know it
}
REASONS = {  # by PyAV's name of the error, or by its number
    "HTTPUnauthorizedError": "wrong user or password (401)",
    "HTTPForbiddenError": "refuses this user (403)",
    "HTTPNotFoundError": "nothing is at this address (404)",
    "InvalidDataError": "sends no sound that can be read",
    "ConnectionRefusedError": "nothing answers there (connection refused)",
    "TimeoutError": "does not answer",
    "ExitError": "does not answer",
    errno.EIO: "ended before it gave sound",
    errno.EPERM: "is a list of other places, which is not followed",
}


class Pipe:
    """What PyAV reads of a pipe, which cannot be sought in."""

    def __init__(self, number: int):
        self._number = number

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, none at the end."""
        return os.read(self._number, size)


def decoded(
    source: str | Pipe, options: Mapping[str, str], connect_s: float | None = None
) -> Iterator[Piece]:
    """An address, or a pipe, to pieces [samples] float32 at 16 kHz, mono, as they come.

    The first says that it is open; a mapping with ``skip`` stands where time stamps leave so many
    seconds without sound. AudioError, without the address, where it is no sound or breaks off.
    """
    import av

    force_plain_code()
    options = QUICK | dict(options)
    av.logging.set_level(None)
    try:
        container = av.open(
            source, "r", metadata_errors="ignore", options=options, timeout=connect_s
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(reason_of(error)) from error
    with container:
        track = LiveTrack(container)
        yield OPEN
        yield from live_pieces(track)


def reason_of(error: Exception) -> str:
    """Why a source cannot be read, without its address, which FFmpeg's texts hold."""
    name = type(error).__name__
    number = getattr(error, "errno", None)
    return REASONS.get(name) or REASONS.get(number) or getattr(error, "strerror", None) or name


class LiveTrack:
    """The sound of an opened stream, as `Frames` asks for it; AudioError where there is none."""

    is_bare = False

    def __init__(self, container: InputContainer):
        self.failed = False
        self._container = container
        if (PLAYLISTS - {"hls"}) & set(container.format.name.split(",")):
            raise AudioError("is a list of other files, not sound")
        tracks = [track for track in container.streams.audio if track.codec_context is not None]
        if not tracks:
            raise AudioError("has no sound that can be decoded")
        self._stream: AudioStream = tracks[0]
        rate_hz = self._stream.codec_context.sample_rate
        if rate_hz and not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise AudioError(f"names a sample rate of {rate_hz} Hz")
        self.tick_s = float(self._stream.time_base or 0)

    def holes(self) -> list[tuple[int, int]]:
        """None are known before they come."""
        return []

    def packets(self) -> Iterator[Packet]:
        """All that come; AudioError where the connection is lost."""
        import av

        try:
            yield from self._container.demux(self._stream)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.EIO:
                return  # by HTTP, the end of what has no stated length
            raise AudioError(f"broke off: {reason_of(error)}") from error


def live_pieces(track: LiveTrack) -> Iterator[Piece]:
    """Frames of ``track`` as samples at 16 kHz, and what their time stamps skip."""
    run: _Run | None = None
    due_s: float | None = None  # stamp of the next frame
    for frame in Frames(track):  # type: ignore[arg-type]
        stamp_s = None if frame.stamp is None or not track.tick_s else frame.stamp * track.tick_s
        skip_s = 0.0 if stamp_s is None or due_s is None else stamp_s - due_s
        if run is not None and (run.kind != frame.kind or skip_s > SKIP_S):
            yield from run.end()
            run = None
        if skip_s > SKIP_S:
            yield {"skip": skip_s}
        run = run or _Run(frame.kind)
        yield from run.add(frame)
        lasts_s = frame.length / frame.kind.rate_hz
        due_s = None if stamp_s is None else stamp_s + lasts_s
    if run is not None:
        yield from run.end()


class _Run:
    """Frames of one kind, one after the other, to mono at 16 kHz."""

    def __init__(self, kind: Kind):
        self.kind = kind
        self._parts: list[np.ndarray] = []
        self._count = 0
        self._mix = Downmix(kind.rate_hz)
        self._resampler = Resampler(kind.rate_hz, RATE_HZ)

    def add(self, frame: Frame) -> Iterator[np.ndarray]:
        """What is known after ``frame``."""
        self._parts.append(frame.samples)
        self._count += frame.length
        if self._count >= PIECE_S * self.kind.rate_hz:
            yield self._resampler(self._mixed())

    def end(self) -> Iterator[np.ndarray]:
        """All that is still to come."""
        yield self._resampler(self._mixed(), last=True)

    def _mixed(self) -> np.ndarray:
        if not self._parts:
            return np.zeros(0, dtype=np.float32)
        samples = fractions(np.concatenate(self._parts, axis=1), self.kind)
        self._parts, self._count = [], 0
        # Nothing is waited for, so a bias is not known; stuck and cancelling channels are.
        return np.concatenate([*self._mix(samples), *self._mix.rest()])


def fractions(samples: np.ndarray, kind: Kind) -> np.ndarray:
    """Arrays of frames as [channels, samples] float32 in [-1, 1]; what is no sound is silence."""
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / float(2 ** (8 * samples.dtype.itemsize - 1))
    else:
        samples = np.where(np.abs(samples) <= LOUDEST, samples, 0).astype(np.float32)
    return samples if kind.planar else samples.reshape(-1, kind.channels).T
