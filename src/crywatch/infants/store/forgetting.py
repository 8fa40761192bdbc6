"""Taking out an infant, or what belonged to it, and the proof that nothing of that is left.

Rows are deleted with secure_delete, the database is rewritten (VACUUM) and its log cut to nothing;
then every byte of the folder is searched for what told of it: the digests and vectors of recordings
that no infant has any more and, where there is no infant of the id any more, the id and the digest
that stands for it. Pages about the infant outside the store go as well.
"""

from __future__ import annotations

import glob
import mmap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from sqlalchemy import func, select

from crywatch.core.atomic import TEMP_PREFIX
from crywatch.core.digest import file_sha256
from crywatch.core.errors import StoreError
from crywatch.infants.store.files import is_whole
from crywatch.infants.store.records import WrittenPage
from crywatch.infants.store.schema import WAIT_S, Base, RecordingRow, outside, unusable
from crywatch.infants.store.store import (
    InfantStore,
    Reader,
    Writer,
    check_id,
    key_of,
    named_files,
)

T = TypeVar("T")

_LEAST_ID_BYTES = 3  # shorter ones stand anywhere by chance
_VECTOR_BYTES = 64  # of each vector that are searched for


@dataclass(frozen=True)
class Erasure:
    """What was removed outside the store, and what was searched."""

    pages: tuple[str, ...]  # files outside the store
    changed_pages: tuple[str, ...]  # not removed: they are no longer what was written
    searched_bytes: int
    searched_files: int
    searched_for: int  # texts and vectors
    id_searched: bool  # false where the infant is still there, or its id too short


@dataclass(frozen=True)
class RemovalReport(Erasure):
    """What was removed of an infant."""

    infant_id: str
    recordings: int
    versions: int
    files: int  # of models, in the store


@dataclass(frozen=True)
class _Traces:
    """What would tell of what is gone."""

    id_bytes: tuple[bytes, ...]
    exact: tuple[bytes, ...]  # cannot stand anywhere by chance


def forget(store: InfantStore, infant_id: str) -> RemovalReport:
    """Remove an infant from the store, and the pages written about it, and prove it.

    Raises StoreError if there is no such infant, if another process keeps the database open in the
    middle of reading, or if a byte is left.
    """
    infant_id = check_id(infant_id)

    def work(writer: Writer) -> tuple[int, list[bool]]:
        writer.require(infant_id)
        counts = (
            len(_vectors(writer, infant_id)),
            [version.files is not None for version in writer.versions(infant_id)],
        )
        writer.remove(infant_id)
        return counts

    (recordings, versions), erasure = erase(store, infant_id, work)
    return RemovalReport(
        **vars(erasure),
        infant_id=infant_id,
        recordings=recordings,
        versions=len(versions),
        files=2 * sum(versions),
    )


def rename(store: InfantStore, infant_id: str, new_id: str) -> Erasure:
    """Give an infant another id, and prove that the old one is gone.

    Raises StoreError if there is no such infant, or one of the new id.
    """
    infant_id, new_id = check_id(infant_id), check_id(new_id)

    def work(writer: Writer) -> None:
        history = writer.history(infant_id)
        if writer.has(new_id):
            raise StoreError(
                f"there is an infant {new_id!r} already: `crywatch infant merge` makes two one"
            )
        writer.put(history.provenance, replace(history.state, infant_id=new_id), history.records)
        writer.adopt(new_id, history.versions, store.folder)
        writer.remove(infant_id)

    return erase(store, infant_id, work)[1]


def erase(store: InfantStore, infant_id: str, work: Callable[[Writer], T]) -> tuple[T, Erasure]:
    """Do ``work``, which takes something of an infant out, and prove that it is gone.

    Raises StoreError as `forget` does, and what ``work`` raises: then nothing is changed.
    """
    try:
        with store.writing() as writer:
            before, pages = _vectors(writer, infant_id), writer.pages(infant_id)
            result = work(writer)
            gone = _traces(writer, infant_id, before)
            # Before the commit: after a stop in between the pages would not be known any more.
            removed, changed = _remove_pages(pages)
            writer.drop_pages(infant_id)
    except StoreError:
        # What there is no more an earlier call may have taken out, and not have cleaned up after.
        _rewrite(store)
        raise
    # The files were named until the commit; a writer sweeps those that are not.
    with store.writing():
        pass
    _rewrite(store)
    searched_files, searched_bytes = _search(store, infant_id, gone)
    erasure = Erasure(
        pages=tuple(removed),
        changed_pages=tuple(changed),
        searched_bytes=searched_bytes,
        searched_files=searched_files,
        searched_for=len(gone.exact) + len(gone.id_bytes),
        id_searched=bool(gone.id_bytes),
    )
    return result, erasure


def _vectors(reader: Reader, infant_id: str) -> dict[str, bytes]:
    """Of an infant's recordings, by digest."""
    own = select(RecordingRow.digest, RecordingRow.vector).where(
        RecordingRow.key == key_of(infant_id)
    )
    return {digest: vector for digest, vector in reader.connection.execute(own)}


def _traces(reader: Reader, infant_id: str, before: Mapping[str, bytes]) -> _Traces:
    """Of recordings that were there ``before``, and of the infant, what nobody has any more."""
    starts = {vector[:_VECTOR_BYTES] for vector in before.values()}
    start_of = func.substr(RecordingRow.vector, 1, _VECTOR_BYTES)
    left = {
        value
        for column, values in ((RecordingRow.digest, set(before)), (start_of, starts))
        for (value,) in reader.among(select(column), column, values)
    }
    exact, spelled = [], infant_id.encode()
    gone = not reader.has(infant_id)
    if gone:
        exact.append(key_of(infant_id).encode())
    for digest, vector in before.items():
        if digest in left:
            continue
        exact.append(digest.encode())
        start = vector[:_VECTOR_BYTES]
        # Zeros stand everywhere.
        if start not in left and np.count_nonzero(np.frombuffer(start, dtype="<f4")) > 2:
            exact.append(start)
    named = gone and len(spelled) >= _LEAST_ID_BYTES
    return _Traces((spelled,) if named else (), tuple(exact))


def _remove_pages(pages: Iterable[WrittenPage]) -> tuple[list[str], list[str]]:
    """Paths removed, and paths whose content is not what was written."""
    removed, changed = [], []
    for page in pages:
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
            f"infant {infant_id!r}: what was to go is out of the records, but traces are left "
            f"({len(left)}, the first: {left[0]}): remove what they are in; nothing of the store "
            "needs it"
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
