"""The one reader of a user's recordings: any file as blocks of mono sound on its own clock.

PyAV's wheel decodes WAV, Ogg, FLAC, MP3, M4A, 3GP and CAF; the format is probed from the content,
so a wrong extension does no harm. ``container`` opens a file and chooses its sound track, with what
its ``headers`` promise; ``frames`` are what decodes of it, and ``placement`` puts them where their
time stamps say. All samples are float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.audio.decode.container import Track
from crywatch.audio.decode.frames import Frame, Kind
from crywatch.audio.decode.placement import Placement
from crywatch.audio.waves.condition import Condition
from crywatch.audio.waves.downmix import LOUDEST, Downmix
from crywatch.audio.waves.resampling import GATHER_SAMPLES, Resampler
from crywatch.core.errors import AudioError

FRAMES_AT_ONCE = 16  # of a decoder, at least
BLOCK_S = 0.25  # at least


@dataclass(frozen=True)
class Decoded:
    """A decoded recording."""

    wave: np.ndarray  # [samples] float32, mono
    rate_hz: int  # as recorded
    channels: int  # as recorded
    codec: str
    truncated: bool  # the file broke off; what came before is here


@dataclass(frozen=True)
class StreamInfo:
    """What is known of a recording before its samples."""

    rate_hz: int
    channels: int
    codec: str


class BlockReader:
    """Decode ``path`` block by block: iterate for mono float32 arrays [samples].

    With ``content``, the bytes of a file, those are decoded; ``path`` then only names them.
    ``info`` is known at once; the rest when the iteration has ended. A sample's time is that of the
    file's clock: silence stands for what is damaged and for gaps between its time stamps.

    Raises
    ------
    AudioError
        The file is missing, empty, no audio, holds samples that are no sound, or nothing decodes.
    """

    def __init__(self, path: Path | str, content: bytes | None = None):
        self.path = Path(path)
        self.truncated = False  # the file breaks off: nothing later decodes
        self.n_samples = 0
        self.damaged_s = 0.0  # of it, silence in place of what does not decode
        self.gap_s = 0.0  # of it, silence where the file has no sound
        self._content = content
        if content is None and not self.path.is_file():
            raise AudioError(f"{self.path}: no such file")
        size = self.path.stat().st_size if content is None else len(content)
        if size == 0:
            raise AudioError(f"{self.path}: the file is empty (0 bytes)")
        self._size = size
        self.remarks: list[str] = []  # such as which of several sound tracks is heard
        self._track = Track(self.path, content, self.remarks)
        self.info = StreamInfo(self._track.rate_hz, self._track.channels, self._track.codec)

    @property
    def condition(self) -> Condition:
        """All that is to be said of the file."""
        damaged_s, gap_s = round(self.damaged_s, 3), round(self.gap_s, 3)
        return Condition(self.truncated, damaged_s, gap_s, tuple(self.remarks))

    def __iter__(self) -> Iterator[np.ndarray]:
        self.n_samples = 0
        try:
            for block in self._tracks():
                if len(block):
                    self.n_samples += len(block)
                    yield block
            if not self.n_samples:
                raise AudioError(f"{self.path}: nothing in it decodes")
        finally:
            self._track.close()

    def _tracks(self) -> Iterator[np.ndarray]:
        """Of the file, and of those that were appended to it."""
        start = 0
        while True:
            yield from self._blocks()
            behind = self._track.chunk.next_file
            if behind is None:
                return
            start += behind
            try:
                following = Track(self.path, self._content, self.remarks, start)
            except AudioError:
                self.remarks.append(f"{self._size - start} bytes behind the sound are not read")
                return
            self._track.close()
            self._track = following

    def _blocks(self) -> Iterator[np.ndarray]:
        """Of one track, at the rate of the first."""
        track, rate_hz = self._track, self.info.rate_hz
        placement = Placement(track, rate_hz)
        run: _Run | None = None
        for silence, frame in placement:
            if run is not None and (silence or run.kind is not frame.kind):
                yield from run.end()
                run = None
            for start in range(0, silence, GATHER_SAMPLES):
                yield np.zeros(min(GATHER_SAMPLES, silence - start), dtype=np.float32)
            if run is None:
                run = _Run(self, frame.kind)
            if run.is_full():
                yield from run.mixed()
            run.add(frame)
        if run is not None:
            yield from run.end()
        self.damaged_s += placement.damaged / rate_hz
        self.gap_s += placement.gaps / rate_hz
        self.truncated = track.ends_early(placement.at / rate_hz, placement.ends_damaged)


class _Run:
    """Frames of one kind without a gap between them, as mono blocks at the rate of ``reader``."""

    def __init__(self, reader: BlockReader, kind: Kind):
        self.kind = kind
        self._reader = reader
        self._parts: list[np.ndarray] = []
        self._count = 0  # samples in them
        self._enough = BLOCK_S * kind.rate_hz
        self._mix = Downmix(kind.rate_hz)
        to_hz = reader.info.rate_hz
        self._resampler = None if kind.rate_hz == to_hz else Resampler(kind.rate_hz, to_hz)

    def add(self, frame: Frame) -> None:
        """``frame`` comes next."""
        self._parts.append(frame.samples)
        self._count += frame.length

    def is_full(self) -> bool:
        """Whether there are frames enough for a block."""
        return len(self._parts) >= FRAMES_AT_ONCE and self._count >= self._enough

    def mixed(self) -> Iterator[np.ndarray]:
        """What is known after the frames so far."""
        channels = self._channels(np.concatenate(self._parts, axis=1))
        self._parts, self._count = [], 0
        for block in self._mix(channels):
            yield self._at_rate(block)

    def end(self) -> Iterator[np.ndarray]:
        """All that is still to come."""
        yield from self.mixed()
        for block in self._mix.rest():
            yield self._at_rate(block)
        if self._resampler is not None:
            yield self._resampler(np.zeros(0, dtype=np.float32), last=True)

    def _at_rate(self, block: np.ndarray) -> np.ndarray:
        return block if self._resampler is None else self._resampler(block)

    def _channels(self, samples: np.ndarray) -> np.ndarray:
        """The arrays of frames as [channels, samples] float32 in [-1, 1]."""
        kind = samples.dtype
        if kind == np.uint8:
            samples = (samples.astype(np.float32) - 128.0) / 128.0
        elif kind.kind == "i":
            samples = samples.astype(np.float32) / float(2 ** (8 * kind.itemsize - 1))
        else:
            samples = self._checked(samples).astype(np.float32, copy=False)
        return samples if self.kind.planar else samples.reshape(-1, self.kind.channels).T

    def _checked(self, samples: np.ndarray) -> np.ndarray:
        """Floats: those that are no sound are silence, where a decoder made them up."""
        flat = samples.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            power = np.dot(flat, flat)
        if power <= LOUDEST**2:  # then no sample is louder; not so of NaN
            return samples
        good = np.abs(samples) <= LOUDEST
        if good.all():
            return samples
        path = self._reader.path
        if self._reader.info.codec.startswith("pcm_"):
            if not np.isfinite(samples).all():
                raise AudioError(f"{path}: holds samples that are NaN or infinite")
            peak = np.abs(samples).max()
            raise AudioError(f"{path}: holds samples of up to {peak:.3g}; full scale is 1")
        bad = good.size - int(good.sum())
        self._reader.damaged_s += bad / self.kind.channels / self.kind.rate_hz
        return np.where(good, samples, samples.dtype.type(0))


def decode(path: Path | str) -> Decoded:
    """Decode a whole file into memory; see `BlockReader` for the errors."""
    return _whole(BlockReader(path))


def decode_bytes(content: bytes, name: str) -> Decoded:
    """Decode a whole file that is in memory; errors, see `BlockReader`, call it ``name``."""
    return _whole(BlockReader(name, content))


def _whole(reader: BlockReader) -> Decoded:
    wave = np.concatenate(list(reader))
    info = reader.info
    return Decoded(wave, info.rate_hz, info.channels, info.codec, reader.truncated)


def excerpt(reader: BlockReader, start_s: float, end_s: float) -> Decoded:
    """What a file holds from ``start_s`` to ``end_s``; nothing after that is decoded.

    The wave is shorter, or empty, where the file ends before ``end_s``. See `BlockReader` for the
    errors.
    """
    first, last = (round(second * reader.info.rate_hz) for second in (start_s, end_s))
    parts, at = [np.zeros(0, dtype=np.float32)], 0
    for block in reader:
        parts.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    info = reader.info
    return Decoded(np.concatenate(parts), info.rate_hz, info.channels, info.codec, reader.truncated)
