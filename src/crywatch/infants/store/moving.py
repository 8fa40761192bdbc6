"""An infant as a folder that moves to another store: tables, safetensors, and a list of both.

``infant.json`` names the infant, what its numbers were made with, and every other file with its
size and digest. What is read is foreign: each file, name, path and number is checked before one of
them is used, and links are not followed. Paths of recordings are below the folder of all of them;
the recordings themselves do not move.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core import gate
from crywatch.core.atomic import atomic_dir, atomic_path, owner_only, write_json
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import StoreError
from crywatch.core.gate import Shape
from crywatch.core.names import shown
from crywatch.data.tables import TableSchema, read_table, write_table
from crywatch.data.tables.infants import BANDS
from crywatch.infants.store.files import VersionFiles, read_version
from crywatch.infants.store.records import (
    BASELINE,
    NEW,
    KeptVersion,
    Provenance,
    StoredRecording,
)
from crywatch.infants.store.store import InfantStore, check_id
from crywatch.infants.updating import InfantState, NormalBand

FORMAT = 1
CONTENTS, RECORDINGS, VERSIONS = "infant.json", "recordings.parquet", "versions.parquet"
VECTORS = "vectors.safetensors"
_AGAIN = "export the infant again"
_NAME = Shape("a name of this folder's", re.compile(r"[a-z0-9][a-z0-9._-]{0,119}"))
_MOST_BYTES = 1 << 30  # of a file, and of what is unpacked of it
_MOST_CONTENTS_BYTES = 1 << 22
_MOST_ROWS = 1_000_000

RECORDINGS_TABLE = TableSchema(
    "moved_recordings",
    {
        "digest": ("str", False),
        "file": ("str", False),  # its path below the folder of all of them
        "recorded_at": ("datetime64[ns, UTC]", False),
        "session_id": ("str", False),
        "cries": ("int64", False),
        "cry_s": ("float64", False),
        "phase": ("str", False),
        "score": ("float64", True),
        "p": ("float64", True),
        "alarm": ("bool", False),
        "accepted": ("bool", False),
        "reason": ("str", True),
        "version": ("int64", False),
        "remark": ("str", True),
        "waiting": ("bool", False),
    },
    unique="digest",
)
_BAND = {name: column for name, column in BANDS.columns.items() if name != "infant_id"}
VERSIONS_TABLE = TableSchema(
    "moved_versions",
    _BAND
    | {name: ("float64", True) for name in ("low", "centre", "high")}
    | {name: ("str", True) for name in ("model_file", "baseline_file", "remark")},
    unique="version",
)


@dataclass(frozen=True)
class MovedInfant:
    """What a folder holds."""

    provenance: Provenance
    state: InfantState
    records: tuple[StoredRecording, ...]
    versions: tuple[KeptVersion, ...]


@dataclass(frozen=True)
class _File:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Contents:
    """``infant.json``."""

    infant_id: str
    model: str
    maker: str
    embedding: str
    version: int
    recent: list[bool]
    files: dict[str, _File]
    format: int = FORMAT
    sha256: str = ""  # of all else

    @property
    def digest(self) -> str:
        """What ``sha256`` has to be."""
        return value_sha256(asdict(self) | {"sha256": ""})


def export(store: InfantStore, infant_id: str, folder: Path) -> MovedInfant:
    """Write an infant to a new ``folder``, for its owner alone; the store stays as it is.

    StoreError where there is no such infant, a file of it is damaged, or something is at
    ``folder``.
    """
    if os.path.lexists(folder):
        raise StoreError(f"{folder} is there already: name a folder that is not")
    # Nobody may sweep a version's files meanwhile.
    with store.writing() as writer, owner_only(), atomic_dir(folder) as temp:
        history = writer.history(infant_id)
        for kept in history.versions:
            if kept.files is not None:
                read_version(store.folder, infant_id, kept.files)
                for name in (kept.files.model, kept.files.baseline):
                    shutil.copyfile(store.folder / name, temp / Path(name).name)
        _save_vectors(temp / VECTORS, [record.vector for record in history.records])
        rows = pd.DataFrame(_recording_rows(history.records))
        write_table(rows, temp / RECORDINGS, RECORDINGS_TABLE)
        write_table(
            pd.DataFrame(map(_version_row, history.versions)), temp / VERSIONS, VERSIONS_TABLE
        )
        state = history.state
        files = {
            path.name: _File(path.stat().st_size, file_sha256(path))
            for path in sorted(temp.iterdir())
        }
        contents = _Contents(
            **asdict(history.provenance),
            infant_id=state.infant_id,
            version=state.version,
            recent=[bool(alarm) for alarm in state.recent],
            files=files,
        )
        write_json(temp / CONTENTS, asdict(contents) | {"sha256": contents.digest})
    return MovedInfant(history.provenance, state, history.records, history.versions)


def read_moved(folder: Path, infant_id: str | None = None) -> MovedInfant:
    """The infant in ``folder``, under its own id or another; StoreError names what is wrong."""
    contents = _contents(folder)
    infant_id = check_id(contents.infant_id if infant_id is None else infant_id)
    versions = _read_versions(folder, contents, infant_id)
    records = _read_recordings(folder, versions[-1].band.version)
    last = versions[-1]
    if last.files is None or last.band.version != contents.version:
        raise _wrong(folder / VERSIONS, "the version that scores has no files")
    calibrated, _, baseline = read_version(folder, infant_id, last.files)
    state = InfantState(
        infant_id=infant_id,
        calibrated=calibrated,
        baseline=baseline,
        pending=tuple(record.observation for record in records if record.waiting),
        version=contents.version,
        recent=tuple(contents.recent),
    )
    dims = {len(records[0].vector), baseline.vectors.shape[1]}
    if len(dims) > 1:
        raise _wrong(folder / VECTORS, "recordings and baseline have vectors of different lengths")
    provenance = Provenance(contents.model, contents.maker, contents.embedding)
    return MovedInfant(provenance, state, records, versions)


def take_in(store: InfantStore, moved: MovedInfant, folder: Path) -> None:
    """Put an infant that was read from ``folder`` into a store; StoreError if its id is taken."""
    infant_id = moved.state.infant_id
    with store.writing() as writer:
        if writer.has(infant_id):
            raise StoreError(
                f"there is an infant {infant_id!r} already: give the new one another id by --as; "
                "`crywatch infant merge` makes two one"
            )
        writer.put(moved.provenance, moved.state, moved.records)
        writer.adopt(infant_id, moved.versions, folder)


def _contents(folder: Path) -> _Contents:
    """``infant.json``, and every file that it lists is there and as it says."""
    path = folder / CONTENTS
    _plain_file(path, _MOST_CONTENTS_BYTES)
    contents: _Contents = gate.read(_Contents, path)
    if contents.format != FORMAT:
        raise _wrong(path, f"format {contents.format} is not {FORMAT}")
    if contents.sha256 != contents.digest:
        raise _wrong(path, "it is not what was written")
    _NAME(contents.model, f"{path}: model")
    for digest in (contents.maker, contents.embedding):
        gate.SHA256(digest, f"{path}: maker or embedding")
    for name in (RECORDINGS, VERSIONS, VECTORS):
        if name not in contents.files:
            raise _wrong(path, f"{name} is not listed")
    for name, about in contents.files.items():
        file = folder / _NAME(name, str(path))
        if about != _File(_plain_file(file, _MOST_BYTES), file_sha256(file)):
            raise _wrong(path, f"{name} is not what was written")
    return contents


def _read_versions(folder: Path, contents: _Contents, infant_id: str) -> tuple[KeptVersion, ...]:
    path = folder / VERSIONS
    frame = _read(path, VERSIONS_TABLE).sort_values("version")
    versions = []
    for row in frame.to_dict("records"):
        names = (row.pop("model_file"), row.pop("baseline_file"))
        remark = row.pop("remark")
        row |= {"since": row["since"].to_pydatetime(warn=False)}
        files = None
        if names != (None, None):
            if not all(name in contents.files for name in names):
                raise _wrong(path, f"version {row['version']}: its files are not listed")
            files = VersionFiles(*names)
            read_version(folder, infant_id, files)
        versions.append(KeptVersion(NormalBand(infant_id=infant_id, **row), files, remark))
        _printable(path, f"version {row['version']}", row["reason"], remark)
    if versions[0].band.version < 0:
        raise _wrong(path, "a version is below 0")
    return tuple(versions)


def _read_recordings(folder: Path, latest: int) -> tuple[StoredRecording, ...]:
    path = folder / RECORDINGS
    frame = _read(path, RECORDINGS_TABLE)
    vectors = _load_vectors(folder / VECTORS, len(frame))
    place = folder.resolve()
    records = []
    for number, row in enumerate(frame.to_dict("records")):
        where, file = f"row {number}", row.pop("file")
        _printable(path, where, file, row["reason"], row["remark"])
        gate.below(file, f"{path}: {where}, column file")
        gate.SHA256(row["digest"], f"{path}: {where}, column digest")
        numbers = [row[key] for key in ("cry_s", "score", "p") if not pd.isna(row[key])]
        right = {
            "session_id": re.fullmatch("[0-9]{1,9}", row["session_id"]),
            "phase": row["phase"] in (BASELINE, NEW),
            "cries, cry_s, score or p": row["cries"] >= 0 and np.isfinite(numbers).all(),
            "version": 0 <= row["version"] <= latest,
            "waiting": row["accepted"] or not row["waiting"],
        }
        if wrong := [column for column, good in right.items() if not good]:
            raise _wrong(path, f"{where}, column {wrong[0]}: {str(row.get(wrong[0]))[:80]!r}")
        row |= {key: None for key in ("score", "p") if pd.isna(row[key])}
        row |= {
            "path": str(place / file),
            "recorded_at": row["recorded_at"].to_pydatetime(warn=False),
            "vector": vectors[number],
        }
        records.append(StoredRecording(**row))
    if not any(record.accepted for record in records):
        raise _wrong(path, "no recording is of a baseline")
    return tuple(records)


def _read(path: Path, schema: TableSchema) -> pd.DataFrame:
    """A table with at least one row, after a look at how large it is unpacked."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        about = pq.read_metadata(path)
    except (ArrowException, OSError) as error:
        raise _wrong(path, str(error)) from error
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if not 0 < about.num_rows <= _MOST_ROWS or size > _MOST_BYTES:
        raise _wrong(path, f"{about.num_rows} rows of {size} bytes")
    return read_table(path, schema)


def _plain_file(path: Path, most_bytes: int) -> int:
    """Its size; StoreError for one that is not there, is a link, or is too large."""
    if path.is_symlink() or not path.is_file():
        raise StoreError(f"{path}: no such file (links are not followed): {_AGAIN}")
    size = path.stat().st_size
    if size > most_bytes:
        raise _wrong(path, f"{size} bytes are more than {most_bytes}")
    return size


def _printable(path: Path, where: str, *texts: str | None) -> None:
    for text in texts:
        if text is not None and text != shown(text):
            raise _wrong(path, f"{where}: control characters in {text[:80]!r}")


def _recording_rows(records: tuple[StoredRecording, ...]) -> list[dict[str, Any]]:
    place = os.path.commonpath([os.path.dirname(record.path) for record in records])
    rows = []
    for record in records:
        file = shown(Path(os.path.relpath(record.path, place)).as_posix())
        columns = [name for name in RECORDINGS_TABLE.columns if name != "file"]
        row = {name: getattr(record, name) for name in columns} | {"file": file}
        row |= {key: row[key] and shown(row[key]) for key in ("reason", "remark")}
        rows.append(row)
    return rows


def _version_row(kept: KeptVersion) -> dict[str, Any]:
    row = {name: getattr(kept.band, name) for name in _BAND} | {"remark": kept.remark}
    names = (None, None) if kept.files is None else (kept.files.model, kept.files.baseline)
    row |= dict(zip(("model_file", "baseline_file"), map(_base, names), strict=True))
    return row


def _base(name: str | None) -> str | None:
    return None if name is None else Path(name).name


def _save_vectors(path: Path, vectors: list[np.ndarray]) -> None:
    from safetensors.numpy import save_file

    with atomic_path(path) as temp:
        save_file({"vectors": np.stack(vectors).astype(np.float32)}, temp)


def _load_vectors(path: Path, rows: int) -> np.ndarray:
    """[rows, dim] float32."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _wrong(path, str(error)) from error
    vectors = arrays.get("vectors", np.zeros(0))
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != rows:
        raise _wrong(path, f"{vectors.dtype} {vectors.shape} are no vectors of {rows} recordings")
    if not np.isfinite(vectors).all() or not vectors.size:
        raise _wrong(path, "a vector is not finite")
    return vectors


def _wrong(path: Path, what: str) -> StoreError:
    return StoreError(f"{path}: {what}: {_AGAIN}")
