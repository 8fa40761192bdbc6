"""Files beside the database: a version's model and the baseline it was fitted on.

Names hold version and content, so a file never changes: it is written as a whole before the record
that names it is committed, and removed after no record names it. What a stop in between leaves is
swept by the next writer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crywatch.core.atomic import atomic_path, owner_only, private_dir
from crywatch.core.errors import ModelError, StoreError
from crywatch.infants import storage
from crywatch.infants.conformal import CalibratedInfant
from crywatch.infants.models.contract import Baseline
from crywatch.infants.storage import SUFFIX, StoredInfant

MODELS = "models"
_SESSIONS = "sessions"  # key of a baseline's header
_DAMAGED = (
    "put back a copy of the whole store, or run `crywatch infant forget` and enroll the infant's "
    "recordings again"
)


@dataclass(frozen=True)
class VersionFiles:
    """Names below the store's folder."""

    model: str
    baseline: str


def write_version(
    folder: Path, key: str, version: int, stored: StoredInfant, baseline: Baseline
) -> VersionFiles:
    """Write a version's two files; the id stands in neither, ``key`` takes its place."""
    anonymous = replace(stored, calibrated=replace(stored.calibrated, infant_id=key))
    place = Path(MODELS) / key
    private_dir(folder / place)
    with owner_only():
        model = _write(folder, place, version, "model", lambda path: storage.save(path, anonymous))
        fitted_on = _write(folder, place, version, "baseline", lambda path: _save(path, baseline))
    # Names of files are kept by their folders, which have to reach the disk as well.
    for parent in (folder / place, folder / MODELS, folder):
        _sync(parent)
    return VersionFiles(model, fitted_on)


def read_version(
    folder: Path, infant_id: str, files: VersionFiles
) -> tuple[CalibratedInfant, StoredInfant, Baseline]:
    """What `write_version` wrote, under the infant's id; StoreError if it is gone or damaged."""
    for name in (files.model, files.baseline):
        if not (folder / name).is_file():
            raise StoreError(
                f"{folder / name}: a record names this file, which is gone: {_DAMAGED}"
            )
        if not is_whole(folder / name):
            raise StoreError(f"{folder / name}: its content is not what was written: {_DAMAGED}")
    try:
        stored = storage.load(folder / files.model)
        baseline = _load(folder / files.baseline, infant_id)
    except ModelError as error:
        raise StoreError(f"{error}; {_DAMAGED}") from error
    return replace(stored.calibrated, infant_id=infant_id), stored, baseline


def is_whole(path: Path) -> bool:
    """Whether a file holds what was written under its name."""
    return _digest(path) == path.stem.rpartition("-")[2]


def sweep(folder: Path, named: Collection[str]) -> list[str]:
    """Remove files below `MODELS` that are not ``named``; names of what was removed.

    Only for the one who may write: another's files are not named before its commit.
    """
    removed = []
    for path in sorted((folder / MODELS).rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in named:
            path.unlink()
            removed.append(name)
    return removed


def _write(
    folder: Path, place: Path, version: int, kind: str, write: Callable[[Path], None]
) -> str:
    """Write under a temporary name first: the digest is part of the final one."""
    temp = folder / place / f".new-{os.getpid()}-{kind}"
    try:
        write(temp)
        name = place / f"v{version:05d}-{kind}-{_digest(temp)}{SUFFIX}"
        os.replace(temp, folder / name)
    finally:
        temp.unlink(missing_ok=True)
    return name.as_posix()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _sync(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # where folders cannot be opened
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _save(path: Path, baseline: Baseline) -> None:
    from safetensors.numpy import save_file

    arrays = {"vectors": np.ascontiguousarray(baseline.vectors, dtype=np.float32)}
    header = {_SESSIONS: json.dumps([str(name) for name in baseline.sessions])}
    with atomic_path(path) as temp:
        save_file(arrays, temp, header)


def _load(path: Path, infant_id: str) -> Baseline:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as handle:
            sessions = json.loads((handle.metadata() or {})[_SESSIONS])
            return Baseline(infant_id, handle.get_tensor("vectors"), np.array(sessions, dtype=str))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
