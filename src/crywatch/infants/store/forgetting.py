"""Removing an infant, and the proof that nothing of it is left.

Rows are deleted with secure_delete, the database is rewritten (VACUUM) and its log cut to nothing;
then every byte of the folder is searched for what told of the infant: its id, the digest that
stands for it, the digests of its recordings and its vectors.
"""

from __future__ import annotations

import glob
import mmap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from crywatch.core.atomic import TEMP_PREFIX
from crywatch.core.digest import file_sha256
from crywatch.core.errors import StoreError
from crywatch.infants.store.files import is_whole
from crywatch.infants.store.schema import WAIT_S, Base, RecordingRow, VersionRow, outside, unusable
from crywatch.infants.store.store import (
    InfantStore,
    Reader,
    Writer,
    check_id,
    key_of,
    named_files,
)

_LEAST_ID_BYTES = 3  # shorter ones stand anywhere by chance
_VECTOR_BYTES = 64  # of each vector that are searched for


@dataclass(frozen=True)
class RemovalReport:
    """What was removed and what was searched."""

    infant_id: str
    recordings: int
    versions: int
    files: int  # of models, in the store
    pages: tuple[str, ...]  # files outside the store
    changed_pages: tuple[str, ...]  # not removed: they are no longer what was written
    searched_bytes: int
    searched_files: int
    searched_for: int  # texts and vectors
    id_searched: bool  # false where the id is too short to be told from chance


@dataclass(frozen=True)
class _Traces:
    """What would tell of the infant."""

    id_bytes: tuple[bytes, ...]
    exact: tuple[bytes, ...]  # cannot stand anywhere by chance


def forget(store: InfantStore, infant_id: str) -> RemovalReport:
    """Remove an infant from the store, and the pages written about it, and prove it.

    Raises StoreError if there is no such infant, if another process keeps the database open in the
    middle of reading, or if a byte is left.
    """
    infant_id = check_id(infant_id)
    with store.writing() as writer:
        known = writer.has(infant_id)
        recordings, versions = (
            _count(writer, row, infant_id) for row in (RecordingRow, VersionRow)
        )
        traces = _traces(writer, infant_id)
        # Before the records: after a stop in between the pages would not be known any more.
        pages, changed_pages = _remove_pages(writer, infant_id)
        writer.remove(infant_id)
    # The files were named until the commit; a writer sweeps those that are not.
    with store.writing():
        pass
    _rewrite(store)
    if not known:
        # An earlier removal may have been stopped before free pages and log were cleaned.
        with store.reading() as reader:
            reader.require(infant_id)
    searched_files, searched_bytes = _search(store, infant_id, traces)
    return RemovalReport(
        infant_id=infant_id,
        recordings=recordings,
        versions=versions,
        files=2 * versions,
        pages=tuple(pages),
        changed_pages=tuple(changed_pages),
        searched_bytes=searched_bytes,
        searched_files=searched_files,
        searched_for=len(traces.exact) + len(traces.id_bytes),
        id_searched=bool(traces.id_bytes),
    )


def _count(reader: Reader, row: type[RecordingRow | VersionRow], infant_id: str) -> int:
    query = select(func.count()).select_from(row).where(row.key == key_of(infant_id))
    return reader.connection.execute(query).scalar_one()


def _traces(reader: Reader, infant_id: str) -> _Traces:
    """Digests and vectors that no other infant has, and the id."""
    key = key_of(infant_id)
    others = select(RecordingRow.digest).where(RecordingRow.key != key)
    rows = reader.connection.execute(
        select(RecordingRow.digest, RecordingRow.vector).where(
            RecordingRow.key == key, RecordingRow.digest.not_in(others)
        )
    ).all()
    exact = [key.encode()]
    for digest, vector in rows:
        exact.append(digest.encode())
        numbers = np.frombuffer(vector, dtype="<f4")
        if np.count_nonzero(numbers[: _VECTOR_BYTES // 4]) > 2:  # zeros stand everywhere
            exact.append(vector[:_VECTOR_BYTES])
    spelled = infant_id.encode()
    return _Traces((spelled,) if len(spelled) >= _LEAST_ID_BYTES else (), tuple(exact))


def _remove_pages(writer: Writer, infant_id: str) -> tuple[list[str], list[str]]:
    """Paths removed, and paths whose content is not what was written."""
    removed, changed = [], []
    for page in writer.pages(infant_id):
        path = Path(page.path)
        # A kill while a page was written leaves it under a temporary name.
        for left in path.parent.glob(f"{TEMP_PREFIX}*-{glob.escape(path.name)}"):
            left.unlink()
            removed.append(str(left))
        if not path.is_file():
            continue
        # Without a digest the writing was broken off, before or after the file was there.
        if page.sha256 in ("", file_sha256(path)):
            path.unlink()
            removed.append(page.path)
        else:
            changed.append(page.path)
    return removed, changed


def _rewrite(store: InfantStore) -> None:
    """Write the database anew without free pages, and cut its log to nothing."""
    until = time.monotonic() + WAIT_S
    with store.translating(), outside(store.engine) as connection:
        connection.exec_driver_sql("VACUUM")
        while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0]:
            if time.monotonic() > until:
                raise unusable(store.folder, StoreError("the log is busy"))
            time.sleep(0.05)


def _search(store: InfantStore, infant_id: str, traces: _Traces) -> tuple[int, int]:
    """Files and bytes that were searched; StoreError where something is left."""
    with store.reading() as reader:
        others = sorted({one for one in _contents(reader) if infant_id.encode() in one})
        in_use = named_files(reader.connection)
    n_files = n_bytes = 0
    left = []
    for path in sorted(path for path in store.folder.rglob("*") if path.is_file()):
        n_files, n_bytes = n_files + 1, n_bytes + path.stat().st_size
        name = path.relative_to(store.folder).as_posix()
        if any(trace in name.encode() for trace in traces.exact):
            left.append(f"{path}: in its name")
        if not path.stat().st_size:
            continue
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as data:
            for trace in traces.exact:
                if (at := data.find(trace)) >= 0:
                    left.append(f"{path}: at byte {at}")
            # No id is ever written to a model's file, and one that is as it was written holds none.
            for trace in () if name in in_use and is_whole(path) else traces.id_bytes:
                left += [
                    f"{path}: the id, at byte {at}"
                    for at in _hits(data, trace)
                    if not _explained(data, at, trace, others)
                ]
    if left:
        raise StoreError(
            f"infant {infant_id!r} was removed, but traces are left ({len(left)}, the first: "
            f"{left[0]}): remove what they are in; nothing of the store needs it"
        )
    return n_files, n_bytes


def _contents(reader: Reader) -> Iterator[bytes]:
    """Every text and array that the database holds of others, and the words of its own format."""
    for table in ("sqlite_master", *Base.metadata.tables):
        for row in reader.connection.exec_driver_sql(f"SELECT * FROM {table}"):
            yield from (value.encode() for value in row if isinstance(value, str))
            yield from (value for value in row if isinstance(value, bytes))
    yield b"SQLite format 3"


def _hits(data: mmap.mmap | bytes, trace: bytes) -> Iterator[int]:
    at = data.find(trace)
    while at >= 0:
        yield at
        at = data.find(trace, at + 1)


def _explained(data: mmap.mmap, at: int, trace: bytes, others: Sequence[bytes]) -> bool:
    """Whether what was found is a piece of what is others', such as a path of theirs."""
    for whole in others:
        for before in _hits(whole, trace):
            start = at - before
            if start >= 0 and data[start : start + len(whole)] == whole:
                return True
    return False
