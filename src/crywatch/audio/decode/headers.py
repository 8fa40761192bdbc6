"""How much sound a file's own header declares, where FFmpeg does not say it or guesses it."""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass
from typing import BinaryIO, Literal

WRAP = 1 << 32  # sizes of a RIFF file are counted modulo this
NEAR = 1 << 16  # bytes; a placeholder is that near to a power of two
JUNK = 1 << 10  # bytes behind the sound that are not worth a word
ADTS_HEADER = 7  # bytes
MPEG_HEADER = 4  # bytes of an MPEG audio frame before its side information
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # text between frames of MP3 or AAC


@dataclass(frozen=True)
class DataChunk:
    """The chunk of samples of a WAV or CAF file."""

    end: int | None  # byte that it ends before, by the header; None: the header does not say
    reads_on: bool = False  # what lies behind it is sound too
    next_file: int | None = None  # byte at which another file begins
    remark: str | None = None


def is_placeholder(count: int) -> bool:
    """Whether a writer that could not seek back left ``count`` in place of a size or a length."""
    return count <= 0 or any(0 <= bound - count <= NEAR for bound in (WRAP // 2, WRAP))


def data_chunk(file: BinaryIO, size: int) -> DataChunk | None:
    """That of a ``file`` of ``size`` bytes; None if it is neither WAV nor CAF, or has none."""
    file.seek(0)
    head = file.read(12)
    is_wav = head[:4] == b"RIFF" and head[8:12] == b"WAVE"
    if not is_wav and head[:4] != b"caff":
        return None
    order: Literal["little", "big"] = "little" if is_wav else "big"
    at, sized = (12, 4) if is_wav else (8, 8)
    while at + 4 + sized <= size:
        file.seek(at)
        header = file.read(4 + sized)
        length = int.from_bytes(header[4:], order, signed=not is_wav)
        start = at + 4 + sized
        if header[:4] == b"data":
            return _wav_data(file, start, length, size) if is_wav else _caf_data(start, length)
        if length < 0:
            return None
        at = start + length + (length % 2 if is_wav else 0)
    return None


def _caf_data(start: int, length: int) -> DataChunk:
    return DataChunk(None if length < 0 else start + length)


def _wav_data(file: BinaryIO, start: int, length: int, size: int) -> DataChunk:
    unknown = is_placeholder(length)
    end = start + length + length % 2
    at = _behind_chunks(file, end, size)
    if at >= size:
        return DataChunk(None, True) if unknown and end >= size else DataChunk(start + length)
    file.seek(at)
    behind = file.read(12)
    if behind[:4] == b"RIFF" and behind[8:] == b"WAVE":
        return DataChunk(start + length, next_file=at)
    if unknown:
        return DataChunk(None, True)
    if size - at <= JUNK or behind.startswith(TAGS):
        return DataChunk(start + length)
    remark = f"the header declares {length} bytes of sound; the {size - end} behind are read too"
    return DataChunk(None, True, remark=remark)


def _behind_chunks(file: BinaryIO, at: int, size: int) -> int:
    """The first byte from ``at`` on that belongs to no whole chunk of RIFF; ``size`` if none."""
    while at + 8 <= size:
        file.seek(at)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        is_chunk = all(32 <= byte < 127 for byte in header[:4]) and header[:4] != b"RIFF"
        if not is_chunk or at + 8 + length > size:
            return at
        at += 8 + length + length % 2
    return max(at, size)


def tag_bytes(file: BinaryIO) -> int:
    """Length of the ID3v2 tags that a file begins with."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return at
        at += 10 + sum((head[6 + i] & 127) << 7 * (3 - i) for i in range(4))


def mp3_frames_s(file: BinaryIO, rate_hz: int) -> float | None:
    """Seconds of an MP3 file by the count in its first frame (Xing, Info or VBRI), if that has one.

    The duration that FFmpeg gives is guessed without it, and of joined files with it too.
    """
    file.seek(tag_bytes(file))
    frame = file.read(1 << 12)
    start = next(
        (at for at in range(len(frame) - 1) if frame[at] == 0xFF and frame[at + 1] >= 0xE0), None
    )
    if start is None:
        return None
    samples = 1152 if frame[start + 1] & 0x08 else 576  # MPEG 1, or 2 and 2.5
    # Behind the side information of 9 to 32 bytes, and perhaps a checksum; VBRI after 32.
    for side in (9, 11, 17, 19, 32, 34):
        at = start + MPEG_HEADER + side
        mark, flags = frame[at : at + 4], frame[at + 7 : at + 8]
        if mark in (b"Xing", b"Info") and flags and flags[0] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big") * samples / rate_hz
        if mark == b"VBRI":
            return int.from_bytes(frame[at + 14 : at + 18], "big") * samples / rate_hz
    return None


def adts_holes(content: bytes | mmap.mmap, at: int) -> list[tuple[int, int]]:
    """What FFmpeg passes over without a word in bare AAC from byte ``at`` on, in order.

    Of each hole: how many bytes of frames come before it, and how long it is. Text is none.
    """
    holes: list[tuple[int, int]] = []
    frames, size = 0, len(content)
    while at + ADTS_HEADER <= size:
        head = content[at : at + ADTS_HEADER]
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if head[0] == 0xFF and head[1] >= 0xF0 and length >= ADTS_HEADER:
            at += length
            frames += length
            continue
        start, is_text = at, head.startswith(TAGS)
        at += 1
        while (at := content.find(b"\xff", at)) >= 0 and content[at + 1 : at + 2] < b"\xf0":
            at += 1
        if at < 0:
            break
        if not is_text:
            holes.append((frames, at - start))
    return holes


class Tail(io.RawIOBase):
    """A file from one of its bytes on, as if that were its first."""

    def __init__(self, file: BinaryIO, start: int):
        self._file, self._start = file, start
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence)
        return self.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
