"""Unpack zip and tar archives; whatever could write outside or fill the disk is refused first."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crywatch.errors import ArchiveError

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
    """Unpack ``archive`` (zip or tar) below ``folder``, which may exist.

    Every entry is checked before the first byte is written.

    Raises
    ------
    ArchiveError
        Not an archive, or an entry with an absolute path or ``..``, a link or device, or more than
        ``max_bytes`` unpacked; nothing has been written then. Or an entry is damaged, which shows
        only on reading it: what came before it has been written.
    """
    try:
        _extract(archive, folder, max_bytes)
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged, cannot be unpacked ({reason})") from error


def _extract(archive: Path, folder: Path, max_bytes: int) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = list(_zip_members(opened))
            check(archive, members, max_bytes)
            _write(folder, members, opened.open, archive)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            members = list(_tar_members(opened))
            check(archive, members, max_bytes)
            _write(folder, members, opened.extractfile, archive)
    else:
        raise ArchiveError(f"{archive}: neither a zip nor a tar archive")


def check(archive: Path, members: list[Member], max_bytes: int) -> None:
    """Raise ArchiveError, naming the entry, if any of ``members`` must not be unpacked."""
    total = 0
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if path.is_absolute() or (path.parts and ":" in path.parts[0]):
            raise ArchiveError(f"{archive}: entry {member.name!r} has an absolute path: refused")
        if ".." in path.parts:
            raise ArchiveError(f"{archive}: entry {member.name!r} leads out by '..': refused")
        if not member.is_plain:
            raise ArchiveError(f"{archive}: entry {member.name!r} is a link or device: refused")
        total += member.size_bytes
        if total > max_bytes:
            raise ArchiveError(
                f"{archive}: would unpack to more than {max_bytes / 1e9:.1f} GB: refused "
                "(raise download.max_unpacked_gb if that is right)"
            )


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        kind = (info.external_attr >> 16) & 0o170000  # Unix file type; 0 where none is stored
        plain = kind in (0, 0o100000, 0o040000)
        yield Member(info.filename, info.file_size, info.is_dir(), plain)


def _tar_members(opened: tarfile.TarFile) -> Iterator[Member]:
    for info in opened.getmembers():
        yield Member(info.name, info.size, info.isdir(), info.isfile() or info.isdir())


def _write(folder: Path, members: list[Member], open_member, archive: Path) -> None:
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


def _copy(source, sink, limit: int) -> int:
    copied = 0
    while chunk := source.read(min(shutil.COPY_BUFSIZE, limit - copied + 1)):
        copied += len(chunk)
        if copied > limit:
            return copied
        sink.write(chunk)
    return copied
