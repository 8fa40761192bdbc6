"""An opened file of any format: the sound track that is heard, and its packets."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from crywatch.audio.decode.headers import (
    DataChunk,
    Tail,
    adts_holes,
    data_chunk,
    is_placeholder,
    mp3_frames_s,
    tag_bytes,
)
from crywatch.audio.ffmpeg import force_plain_code
from crywatch.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import InputContainer

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 1_000_000  # of a source; others are damaged headers
LOSSLESS = frozenset({"flac", "tta", "wavpack"})  # their frames hold checksums
MAX_FAILURES = 100_000  # of reading on, one after the other
# They name other files, which would be read in place of this one.
PLAYLISTS = frozenset({"concat", "concatf", "dash", "hls", "imf"})
# Bare frames: their stamps and their length are counted from what is there.
BARE = frozenset({"aac", "ac3", "amr", "amrnb", "amrwb", "dts", "eac3", "loas", "mp3"})
# Their length is that of what is there, or is that of a part.
NO_LENGTH = BARE | {"mpeg", "mpegts", "ogg", "w64"}
FROM_ZERO = frozenset({"matroska", "mov"})  # their clock begins at 0, that of others anywhere
LATE_S = 600.0  # by so much sound may be late in them
ROUNDING_S = 0.01  # of times in a file
SHORT_BY, SHORT_BY_S = 0.01, 0.25  # of a recording: its header may count what encoders pad


class Track:
    """The sound track of ``path`` (or of ``content``, its bytes), from byte ``start`` on.

    What is to be said of it goes to ``remarks``.

    Raises
    ------
    AudioError
        The file holds no sound that can be read.
    """

    def __init__(self, path: Path, content: bytes | None, remarks: list[str], start: int = 0):
        force_plain_code()
        self._path, self._content, self._start = path, content, start
        with _file(path, content, start) as file:
            size = file.seek(0, io.SEEK_END)
            self.chunk = data_chunk(file, size) or DataChunk(None)
            self._size = size
        self._remarks = remarks
        if self.chunk.remark:
            remarks.append(self.chunk.remark)
        self.failed = False  # a packet could not be read since the last one
        self._container = self._open()
        try:
            self._formats = frozenset(self._container.format.name.split(","))
            if PLAYLISTS & self._formats:
                raise AudioError(f"{path}: a list of other files, not a recording")
            self._stream = self._chosen()
            context = self._stream.codec_context
            if not context.sample_rate:
                raise AudioError(f"{path}: names no sample rate")
            if not MIN_RATE_HZ <= context.sample_rate <= MAX_RATE_HZ:
                raise AudioError(f"{path}: names a sample rate of {context.sample_rate} Hz")
        except BaseException:
            self.close()
            raise
        self.is_bare = bool(BARE & self._formats)  # frames without a container
        if context.name in LOSSLESS:
            context.options = {"err_detect": "crccheck+explode"}
        self.rate_hz: int = context.sample_rate
        self.channels: int = context.channels
        self.codec: str = context.name
        self.tick_s = float(self._stream.time_base or 0)
        # Stamps that count samples mean nothing at another rate.
        self.counts_samples = abs(self.tick_s * self.rate_hz - 1) < 1e-6
        self.origin_s = self._origin_s()

    def _open(self) -> InputContainer:
        import av

        options = {"protocol_whitelist": "file"}
        if self.chunk.reads_on:
            options["ignore_length"] = "1"
        # Without "file:" a name such as "night:1.wav" is taken for a protocol.
        source: object = f"file:{self._path}"
        if self._content is not None or self._start:
            source = _file(self._path, self._content, self._start)
        try:
            return av.open(source, "r", metadata_errors="ignore", options=options)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AudioError(
                f"{self._path}: not a recording that can be read ({reason})"
            ) from error

    def _chosen(self) -> AudioStream:
        """The default sound track, or the first; what cannot be decoded only if nothing else is."""
        from av.stream import Disposition

        tracks = list(self._container.streams.audio)
        if not tracks:
            raise AudioError(f"{self._path}: holds no audio stream")
        known = [track for track in tracks if track.codec_context is not None]
        if not known:
            raise AudioError(f"{self._path}: its sound is in a codec that is not known")
        defaults = [track for track in known if track.disposition & Disposition.default]
        chosen = (defaults or known)[0]
        if len(tracks) > 1:
            number = tracks.index(chosen) + 1
            named = [chosen.metadata.get(key, "und") for key in ("language", "title")]
            names = ", ".join(name for name in named if name != "und")
            which = f"{number} of {len(tracks)}" + (f" ({names})" if names else "")
            self._remarks.append(f"sound track {which} is heard")
        return chosen

    def packets(self) -> Iterator[Packet]:
        """All that can be read, and one without content at the end; ``failed`` tells of gaps."""
        import av

        failures = 0
        packets = self._container.demux(self._stream)
        while failures < MAX_FAILURES:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:
                # PyAV at the end of a file with a stream that it did not know at the beginning.
                self._remarks.append("a track that begins later on is not heard")
                return
            except (av.error.FFmpegError, OSError, ValueError):
                self.failed = True
                failures += 1
                packets = self._container.demux(self._stream)
                continue
            failures = 0
            yield packet
            self.failed = False

    def holes(self) -> list[tuple[int, int]]:
        """See `adts_holes`; none but of bare AAC."""
        if "aac" not in self._formats:
            return []
        with _file(self._path, self._content, self._start) as file:
            start = tag_bytes(file)
            if self._content is not None:
                return adts_holes(self._content, start)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return adts_holes(content, start)

    def ends_early(self, at_s: float, damaged: bool) -> bool:
        """Whether the sound breaks off at ``at_s`` of the file's clock, by the header.

        Where the header does not say how long it is: whether its end is ``damaged``.
        """
        if self.chunk.end is not None:
            # FFmpeg shortens the duration of PCM to what is there.
            return self.chunk.end > self._size
        promised_s = self._promised_s()
        if promised_s is None:
            return damaged
        exact = self.codec in LOSSLESS  # no encoder has padded them
        if exact or (damaged and not self.is_bare):  # whose last packet may be no sound
            return at_s < promised_s - ROUNDING_S
        return at_s < (1 - SHORT_BY) * promised_s - SHORT_BY_S

    def _promised_s(self) -> float | None:
        """Where the sound ends by the header, in the file's clock; None if it does not say."""
        if "mp3" in self._formats:
            with _file(self._path, self._content, self._start) as file:
                return mp3_frames_s(file, self.rate_hz)
        if self.chunk.reads_on or NO_LENGTH & self._formats:
            return None
        ticks = self._stream.duration
        if ticks is not None:
            if is_placeholder(ticks):
                return None
            first = self._stream.start_time or 0
            at_s = first * self.tick_s - self.origin_s if FROM_ZERO & self._formats else 0.0
            return at_s + ticks * self.tick_s
        stated_s = _seconds(self._stream.metadata.get("DURATION", ""))
        if stated_s is not None:
            return stated_s
        alone = len(self._container.streams) == 1  # else it may be another's
        return self._container.duration / 1e6 if alone and self._container.duration else None

    def _origin_s(self) -> float:
        """What the file's clock shows at its beginning."""
        start = self._container.start_time
        start_s = (self._stream.start_time or 0) * self.tick_s if start is None else start / 1e6
        whole_s = (self._container.duration or 0) / 1e6
        # A part of a broadcast goes on with the clock of the whole.
        begins = FROM_ZERO & self._formats and start_s <= max(LATE_S, whole_s)
        return 0.0 if begins else start_s

    def close(self) -> None:
        """Give back what the file holds open."""
        self._container.close()


def _seconds(text: str) -> float | None:
    """Seconds of Matroska's "00:01:02.500000000"."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


def _file(path: Path, content: bytes | None, start: int) -> BinaryIO:
    file: BinaryIO = path.open("rb") if content is None else io.BytesIO(content)
    return io.BufferedReader(Tail(file, start)) if start else file
