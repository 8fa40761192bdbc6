"""Atomic writes: a file or folder has its final name only when it is complete.

A crash, a kill or a full disk leaves at most a name that starts with ``.tmp-``, never a half-
written file under a final name.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMP_PREFIX = ".tmp-"
_UNIQUE = 12  # characters that make a temporary name unique


def _temp_beside(final: Path) -> Path:
    # The suffix is kept: writers such as soundfile choose the format by it.
    return final.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:_UNIQUE]}-{final.name}")


@contextmanager
def atomic_path(final: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; on success it is synced and renamed to ``final``.

    Any exception removes the temporary file and leaves what was at ``final`` untouched. ``OSError``
    (a full disk, say) is re-raised with the final path in its message.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temp = _temp_beside(final)
    try:
        yield temp
        with open(temp, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temp, final)
    except OSError as error:
        temp.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot write {final}: {reason}") from error
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_dir(final: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside ``final``; on success it replaces ``final`` as a whole.

    Folders that killed runs left of the same name are removed: they can hold gigabytes.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f"{TEMP_PREFIX}{'?' * _UNIQUE}-{glob.escape(final.name)}"):
        shutil.rmtree(left, ignore_errors=True)
    temp = _temp_beside(final)
    temp.mkdir()
    try:
        yield temp
        if final.exists():
            old = _temp_beside(final)
            os.replace(final, old)
            os.replace(temp, final)
            shutil.rmtree(old)
        else:
            os.replace(temp, final)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


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
