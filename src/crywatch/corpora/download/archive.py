"""Unpack zip, tar and .deb archives; whatever could write outside or fill the disk is refused."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from crywatch.core import gate
from crywatch.core.errors import ArchiveError
from crywatch.corpora.download import deb

MAX_ENTRIES = 500_000  # more of them fill a disk without a byte in any
CHUNK_BYTES = 1 << 16  # copied at a time
MAX_PADDING_BYTES = 1 << 20  # zeros after a tar's last entry, beside what may be unpacked
MAX_HEADER_BYTES = 1 << 20  # of a tar entry's long name or attributes, which are read into memory

# What the standard library raises on archives that are cut off, damaged or encrypted.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True)
class Member:
    """One entry of an archive, as listed."""

    name: str
    size_bytes: int  # unpacked
    is_dir: bool
    is_plain: bool  # a file or folder, not a link or a device


def extract(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack ``archive`` (zip, tar or the files of a .deb) below ``folder``, which may exist.

    Every entry is checked before the first byte is written. Links of a .deb are passed over: they
    lead to files of the system.

    Raises
    ------
    ArchiveError
        Not an archive, or an entry with an absolute path or ``..``, a link or device, one that
        stands twice or lies below a file, or more than ``max_bytes`` unpacked; nothing has been
        written then. Or an entry is damaged, which shows only on reading it: what came before it
        has been written.
    """
    try:
        _extract(archive, folder, max_bytes)
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged, cannot be unpacked ({reason})") from error


def _extract(archive: Path, folder: Path, max_bytes: int) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            members = check(archive, _zip_members(packed), max_bytes)
            _write(folder, members, packed.open, archive)
        return
    with open(archive, "rb") as file:
        files = deb.open_files(file, archive)
        try:
            tar = tarfile.open(fileobj=files or file, tarinfo=_BoundedInfo)  # noqa: SIM115
        except tarfile.ReadError as error:
            kinds = "a zip nor a tar archive" if files is None else "a tar nor one that is packed"
            raise ArchiveError(f"{archive}: neither {kinds}") from error
        with tar:
            members = check(archive, _tar_members(tar, links_pass=files is not None), max_bytes)
            by_name = {info.name: info for info in tar.getmembers()}  # tarfile looks through all
            _write(folder, members, lambda name: tar.extractfile(by_name[name]), archive)
            _read_to_end(tar.fileobj, archive, max_bytes)


def _read_to_end(stream: Any, archive: Path, max_bytes: int) -> None:
    """What compressed the tar checks its sum only where the stream ends, after the last entry."""
    left = max_bytes + MAX_PADDING_BYTES
    while chunk := _read(stream, CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise ArchiveError(f"{archive}: goes on after its last entry: refused")


class _BoundedInfo(tarfile.TarInfo):
    """A header that is refused before an endless name or attribute is read into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # The method that tarfile names as the one to override (cpython, Lib/tarfile.py).
        is_file = self.type in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if not is_file and self.size > MAX_HEADER_BYTES:
            raise ArchiveError(
                f"{str(tar.name)}: entry {self.name!r} has a header of {self.size} bytes: refused"
            )
        return super()._proc_member(tar)  # type: ignore[misc]


def check(archive: Path, members: Iterable[Member], max_bytes: int) -> list[Member]:
    """All of ``members``; ArchiveError, naming the entry, if one must not be unpacked.

    They are taken one by one: listing what follows a bomb would unpack it.
    """
    total = 0
    checked: list[Member] = []
    names = _Names(archive)
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.parts or not member.is_dir:  # a tar may begin with its own folder, "."
            try:
                gate.below(path.as_posix(), f"{archive}: entry")
            except gate.GateError as error:
                raise ArchiveError(f"{error}: refused") from error
        if not member.is_plain:
            raise ArchiveError(f"{archive}: entry {member.name!r} is a link or device: refused")
        total += member.size_bytes
        if total > max_bytes:
            raise ArchiveError(
                f"{archive}: would unpack to more than {max_bytes / 1e9:.1f} GB: refused "
                "(raise download.max_unpacked_gb if that is right)"
            )
        if len(checked) == MAX_ENTRIES:
            raise ArchiveError(f"{archive}: more than {MAX_ENTRIES} entries: refused")
        names.add(member, path)
        checked.append(member)
    return checked


class _Names:
    """Names so far; ArchiveError for one that cannot be written beside the others."""

    def __init__(self, archive: Path):
        self._archive = archive
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, member: Member, path: PurePosixPath) -> None:
        own = path.as_posix()
        above = {parent.as_posix() for parent in path.parents if parent.parts}
        if not member.is_dir and own in self._files:
            raise self._refused(member, "stands twice")
        (self._folders if member.is_dir else self._files).add(own)
        self._folders |= above
        if not self._files.isdisjoint(above) or own in self._files & self._folders:
            raise self._refused(member, "is both a file and a folder")

    def _refused(self, member: Member, why: str) -> ArchiveError:
        return ArchiveError(f"{self._archive}: entry {member.name!r} {why}: refused")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = (info.external_attr >> 16) & 0o170000  # Unix file type; 0 where none is stored
        plain = kind in (0, 0o100000, 0o040000)
        yield Member(info.filename, info.file_size, info.is_dir(), plain)


def _tar_members(archive: tarfile.TarFile, links_pass: bool) -> Iterator[Member]:
    for info in archive:
        if links_pass and (info.issym() or info.islnk()):
            continue
        yield Member(info.name, info.size, info.isdir(), info.isfile() or info.isdir())


def _write(
    folder: Path, members: list[Member], open_member: Callable[[str], Any], archive: Path
) -> None:
    for member in members:
        target = folder / member.name
        if member.is_dir:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_member(member.name) as source, open(target, "wb") as sink:
            # A header may lie about the size: never write more than it promised.
            copied = _copy(source, sink, member.size_bytes)
        if copied != member.size_bytes:
            raise ArchiveError(
                f"{archive}: entry {member.name!r} is not of the size that its header names"
            )


def _copy(source: Any, sink: BinaryIO, limit: int) -> int:
    copied = 0
    while chunk := _read(source, min(CHUNK_BYTES, limit - copied + 1)):
        copied += len(chunk)
        if copied > limit:
            return copied
        sink.write(chunk)
    return copied


def _read(source: Any, size: int) -> bytes:
    try:
        return source.read(size)
    except OSError as error:  # so gzip and bz2 tell of damage; writing is not meant
        raise tarfile.ReadError(str(error)) from error
