"""Atomic writes: a file or folder has its final name only when it is complete.

A crash, a kill or a full disk leaves at most a name that starts with ``.tmp-``, never a half-
written file under a final name. Inside `owner_only` nobody but the owner may read what is written,
whatever the umask.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from crywatch.core.errors import REFUSED_WRITES, CrywatchError

TEMP_PREFIX = ".tmp-"
_UNIQUE = 12  # characters that make a temporary name unique
_ROOM_BYTES = 1 << 20  # a disk with less is full
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700

_private: ContextVar[bool] = ContextVar("private", default=False)


@contextmanager
def owner_only() -> Iterator[None]:
    """Files and folders that are written here, however deep, are for their owner alone."""
    token = _private.set(True)
    try:
        yield
    finally:
        _private.reset(token)


def private_dir(folder: Path | str) -> Path:
    """``folder``, made for its owner alone where it is not there; one that is there stays as it is.

    Folders above it that are missing are made alike.
    """
    folder = Path(folder)
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(PRIVATE_FOLDER, exist_ok=True)
            path.chmod(PRIVATE_FOLDER)
    return folder


def private_file(path: Path | str) -> None:
    """Make an empty file for its owner alone; one that is there is closed to others."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
    if os.stat(path).st_mode & 0o777 != PRIVATE_FILE:
        os.chmod(path, PRIVATE_FILE)


def _close(folder: Path) -> None:
    """Close a folder and all that is in it to others; links are not followed."""
    for here, folders, files in os.walk(folder):
        for names, mode in ((folders, PRIVATE_FOLDER), (files, PRIVATE_FILE)):
            for name in names:
                if not os.path.islink(path := os.path.join(here, name)):
                    os.chmod(path, mode)


def _temp_beside(final: Path) -> Path:
    # The suffix is kept: writers such as soundfile choose the format by it.
    return final.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:_UNIQUE]}-{final.name}")


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; on success it is synced and renamed to ``final``.

    Any exception removes the temporary file and leaves what was at ``final`` untouched. ``OSError``
    is re-raised with the final path in its message; so is whatever a writer says of a full disk.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temp = _temp_beside(final)
    try:
        if _private.get():
            private_file(temp)  # before there is anything to read
        yield temp
        if _private.get():
            private_file(temp)  # a writer may have put another file in its place
        with open(temp, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temp, final)
    except OSError as error:
        refused = _refused(final, error)
        temp.unlink(missing_ok=True)
        if refused is not None:
            raise refused from error
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot write {final}: {reason}") from error
    except BaseException as error:
        refused = _refused(final, error)
        temp.unlink(missing_ok=True)
        if refused is not None:
            raise refused from error
        raise


@contextmanager
def atomic_dir(final: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside ``final``; on success it replaces ``final`` as a whole.

    Folders that killed runs left of the same name are removed: they can hold gigabytes. A disk that
    is full or read-only is an ``OSError`` with the final path in its message.
    """
    final = Path(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if refused := _refused(final, error):
            raise refused from error
        raise
    for left in final.parent.glob(f"{TEMP_PREFIX}{'?' * _UNIQUE}-{glob.escape(final.name)}"):
        shutil.rmtree(left, ignore_errors=True)
    temp = _temp_beside(final)
    try:
        temp.mkdir(PRIVATE_FOLDER if _private.get() else 0o777)
        yield temp
        if _private.get():
            _close(temp)
        if final.exists():
            old = _temp_beside(final)
            os.replace(final, old)
            os.replace(temp, final)
            shutil.rmtree(old)
        else:
            os.replace(temp, final)
    except BaseException as error:
        refused = _refused(final, error)
        shutil.rmtree(temp, ignore_errors=True)
        if refused is not None:
            raise refused from error
        raise


def _refused(final: Path, error: BaseException) -> OSError | None:
    """What to tell where the disk is the reason; None where it is not.

    libsndfile, PyTorch and others say only that writing failed: so the disk itself is asked.
    """
    if isinstance(error, CrywatchError) or not isinstance(error, Exception):
        return None
    if isinstance(error, OSError) and error.errno in REFUSED_WRITES:
        return OSError(error.errno, f"cannot write {final}: {os.strerror(error.errno)}")
    number = no_room(final.parent)
    if not number:
        return None
    return OSError(number, f"cannot write {final}: {os.strerror(number)} ({error})")


def no_room(folder: Path) -> int:
    """The error number of a disk that takes no more; 0 for one that does."""
    probe = folder / f"{TEMP_PREFIX}{uuid.uuid4().hex}"
    try:
        with open(probe, "wb") as handle:
            handle.write(bytes(_ROOM_BYTES))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        return error.errno if error.errno in (errno.ENOSPC, errno.EDQUOT) else 0
    finally:
        probe.unlink(missing_ok=True)
    return 0


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temp:
        temp.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temp:
        temp.write_bytes(data)


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
