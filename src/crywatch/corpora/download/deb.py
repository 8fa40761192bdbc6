"""Debian packages: an ar archive (deb(5)) of which the member ``data.tar.*`` has the files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from crywatch.core.errors import ArchiveError

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60
HEADER_END = b"`\n"
FILES = "data.tar"


def open_files(file: BinaryIO, archive: Path) -> BinaryIO | None:
    """The packed tar in ``file``, a package; None, and ``file`` at its start, if it is none.

    ArchiveError, naming ``archive``, if a member is cut off or none has files.
    """
    if file.read(len(MAGIC)) != MAGIC:
        file.seek(0)
        return None
    length = file.seek(0, os.SEEK_END)
    at = len(MAGIC)
    while at < length:
        file.seek(at)
        header = file.read(HEADER_BYTES)
        name, digits = header[:16].decode("ascii", "replace").rstrip(" /"), header[48:58].strip()
        start, size = at + HEADER_BYTES, int(digits) if digits.isdigit() else length
        if not header.endswith(HEADER_END) or start + size > length:
            raise ArchiveError(f"{archive}: damaged, cannot be unpacked (member {name!r})")
        if name.startswith(FILES):
            return io.BufferedReader(_Part(file, start, size))
        at = start + size + size % 2  # members begin at even offsets
    raise ArchiveError(f"{archive}: an ar archive without {FILES}, so no Debian package")


class _Part(io.RawIOBase):
    """``size`` bytes of a file from ``start`` on, to read."""

    def __init__(self, file: BinaryIO, start: int, size: int):
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
