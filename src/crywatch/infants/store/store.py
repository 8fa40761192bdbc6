"""Transactions over the database and the files beside it.

`InfantStore.writing` is the one way to change anything: it holds the whole store, reads what is
true now and commits at its end. The files of a new version are written, and on the disk, before the
record that names them is committed; so a stop anywhere leaves the state before or the state after.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import DatabaseError

from crywatch.core.errors import StoreError
from crywatch.core.names import normal
from crywatch.infants.storage import StoredInfant
from crywatch.infants.store.files import VersionFiles, read_version, sweep, write_version
from crywatch.infants.store.records import (
    InfantEntry,
    InfantHistory,
    KeptVersion,
    Provenance,
    StoredRecording,
    WrittenPage,
)
from crywatch.infants.store.schema import (
    InfantRow,
    PageRow,
    RecordingRow,
    VersionRow,
    connect,
    unusable,
    writing,
)
from crywatch.infants.updating import InfantState, NormalBand, Refit

MAX_ID = 200  # characters
MOST_VALUES = 500  # that a query is asked for at once


class InfantStore:
    """The store in ``folder``, made where there is none; see `schema.connect` for the errors."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    @cached_property
    def engine(self):
        """The database."""
        return connect(self.folder)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """The only writer, until the end: then all of it is committed, or none on an exception."""
        with self.translating(), writing(self.engine) as connection:
            sweep(self.folder, named_files(connection))
            yield Writer(self.folder, connection)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """What was committed last; it does not change while it is read."""
        with self.translating(), self.engine.begin() as connection:
            yield Reader(self.folder, connection)

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Raise database errors as StoreError."""
        try:
            yield
        except DatabaseError as error:
            raise unusable(self.folder, error) from error


class Reader:
    """What a transaction sees."""

    def __init__(self, folder: Path, connection: Connection):
        self.folder, self.connection = folder, connection

    def has(self, infant_id: str) -> bool:
        """Whether there is an infant of that id."""
        row = select(InfantRow.key).where(InfantRow.key == key_of(infant_id))
        return self.connection.execute(row).first() is not None

    def require(self, infant_id: str) -> None:
        """Raise StoreError where there is no infant of that id."""
        if not self.has(infant_id):
            raise StoreError(
                f"there is no infant {infant_id!r} in {self.folder}: `crywatch infant list` shows "
                "those that are, `crywatch infant enroll` adds one"
            )

    def load(self, infant_id: str) -> InfantHistory | None:
        """`history`, or None where there is no such infant."""
        return self.history(infant_id) if self.has(infant_id) else None

    def history(self, infant_id: str) -> InfantHistory:
        """All that is kept of an infant.

        Raises StoreError where there is no such infant, or one of its files is gone or damaged.
        """
        self.require(infant_id)
        key = key_of(infant_id)
        row = self.connection.execute(select(InfantRow).where(InfantRow.key == key)).one()
        versions = self.versions(infant_id)
        rows = self.connection.execute(
            select(RecordingRow)
            .where(RecordingRow.key == key)
            .order_by(RecordingRow.recorded_at, RecordingRow.path, RecordingRow.digest)
        )
        records = tuple(map(_record, rows))
        files = versions[-1].files
        if files is None:
            raise StoreError(f"{self.folder}: the latest version of {infant_id!r} has no files")
        calibrated, _, baseline = read_version(self.folder, row.infant_id, files)
        state = InfantState(
            infant_id=row.infant_id,
            calibrated=calibrated,
            baseline=baseline,
            pending=tuple(record.observation for record in records if record.waiting),
            version=row.version,
            recent=tuple(mark == "1" for mark in row.recent),
        )
        provenance = Provenance(row.model, row.maker, row.embedding)
        return InfantHistory(provenance, state, records, versions)

    def versions(self, infant_id: str) -> tuple[KeptVersion, ...]:
        """All of an infant, by number."""
        query = (
            select(VersionRow)
            .where(VersionRow.key == key_of(infant_id))
            .order_by(VersionRow.version)
        )
        return tuple(_kept_version(infant_id, row) for row in self.connection.execute(query))

    def also_of(self, infant_id: str, digests: Collection[str]) -> dict[str, list[str]]:
        """Of ``digests``, those of recordings that other infants have: their ids by digest."""
        query = (
            select(RecordingRow.digest, InfantRow.infant_id)
            .join(InfantRow, InfantRow.key == RecordingRow.key)
            .where(RecordingRow.key != key_of(infant_id))
            .order_by(InfantRow.infant_id)
        )
        out: dict[str, list[str]] = {}
        for digest, other in self.among(query, RecordingRow.digest, digests):
            out.setdefault(digest, []).append(other)
        return out

    def among(self, query: Select, column: Any, values: Iterable[Any]) -> Iterator[Any]:
        """The rows of ``query`` that have one of ``values`` in ``column``."""
        values = list(values)
        for start in range(0, len(values), MOST_VALUES):
            some = column.in_(values[start : start + MOST_VALUES])
            yield from self.connection.execute(query.where(some))

    def entries(self) -> list[InfantEntry]:
        """All infants by id."""
        query = (
            select(
                InfantRow.infant_id,
                func.count(RecordingRow.digest),
                func.count(RecordingRow.session_id.distinct()),
                func.max(RecordingRow.recorded_at),
                InfantRow.version,
                VersionRow.promised,
            )
            .join(RecordingRow, RecordingRow.key == InfantRow.key)
            .join(
                VersionRow,
                (VersionRow.key == InfantRow.key) & (VersionRow.version == InfantRow.version),
            )
            .group_by(InfantRow.key)
        )
        rows = self.connection.execute(query)
        return sorted((InfantEntry(*row) for row in rows), key=lambda entry: entry.infant_id)

    def pages(self, infant_id: str) -> list[WrittenPage]:
        """Files that were written about an infant."""
        query = select(PageRow).where(PageRow.key == key_of(infant_id)).order_by(PageRow.number)
        return [WrittenPage(row.path, row.sha256) for row in self.connection.execute(query)]


class Writer(Reader):
    """What the only writer may do besides."""

    def put(
        self,
        provenance: Provenance,
        state: InfantState,
        records: Sequence[StoredRecording],
        refits: Sequence[Refit] = (),
    ) -> None:
        """Write an infant as it is now: ``records`` are all it has, ``refits`` its new versions.

        The files of versions that it has already stay as they are.
        """
        key, infant_id = key_of(state.infant_id), check_id(state.infant_id)
        values = {
            "infant_id": infant_id,
            "model": provenance.model,
            "maker": provenance.maker,
            "embedding": provenance.embedding,
            "version": state.version,
            "recent": "".join("01"[alarm] for alarm in state.recent),
        }
        if self.has(infant_id):
            self._run(update(InfantRow).where(InfantRow.key == key).values(**values))
        else:
            self._run(insert(InfantRow).values(key=key, **values))
        for refit in refits:
            stored = StoredInfant(refit.calibrated, provenance.model, provenance.maker)
            files = write_version(self.folder, key, refit.version, stored, refit.baseline)
            self._insert_version(key, NormalBand.of(refit), files)
        self._run(delete(RecordingRow).where(RecordingRow.key == key))
        if records:
            self._run(insert(RecordingRow), [_row(key, record) for record in records])
            # A version made when a recording had a wrong time scores from no such time on.
            times = [record.recorded_at for record in records]
            own = update(VersionRow).where(VersionRow.key == key)
            for border, beyond in (
                (min(times), VersionRow.since < min(times)),
                (max(times), VersionRow.since > max(times)),
            ):
                self._run(own.where(beyond).values(since=border))

    def add_page(self, infant_id: str, page: WrittenPage) -> None:
        """Remember a file about an infant, in place of what had its path.

        Once it is written, with its digest, no file about another infant is there any more.
        """
        key = key_of(infant_id)
        old = delete(PageRow).where(PageRow.path == page.path)
        self._run(old if page.sha256 else old.where(PageRow.key == key))
        self._run(insert(PageRow).values(key=key, path=page.path, sha256=page.sha256))

    def drop_page(self, infant_id: str, path: str) -> None:
        """Remember a file of that path no more."""
        own = PageRow.key == key_of(infant_id)
        self._run(delete(PageRow).where(own, PageRow.path == path))

    def adopt(self, infant_id: str, versions: Iterable[KeptVersion], folder: Path) -> None:
        """Add versions of another id or store, whose files are in ``folder``, as the infant's own.

        StoreError where a file is gone or damaged.
        """
        key = key_of(infant_id)
        for kept in versions:
            files = VersionFiles("", "")
            if kept.files is not None:
                _, stored, baseline = read_version(folder, infant_id, kept.files)
                files = write_version(self.folder, key, kept.band.version, stored, baseline)
            self._insert_version(key, kept.band, files, kept.remark)

    def drop_files(
        self, infant_id: str, versions: Collection[int], remark: str | None = None
    ) -> None:
        """Keep the files of ``versions`` no longer; the next writer sweeps them."""
        own = VersionRow.key == key_of(infant_id), VersionRow.version.in_(versions)
        values = {"model_file": "", "baseline_file": ""} | ({"remark": remark} if remark else {})
        self._run(update(VersionRow).where(*own).values(**values))

    def drop_pages(self, infant_id: str) -> None:
        """Remember no file about an infant."""
        self._run(delete(PageRow).where(PageRow.key == key_of(infant_id)))

    def remove(self, infant_id: str) -> None:
        """All rows of an infant; its files are swept by the next writer."""
        self._run(delete(InfantRow).where(InfantRow.key == key_of(infant_id)))

    def _insert_version(
        self, key: str, band: NormalBand, files: VersionFiles, remark: str | None = None
    ) -> None:
        values = asdict(band) | {"key": key, "remark": remark}
        del values["infant_id"]
        values |= {"model_file": files.model, "baseline_file": files.baseline}
        self._run(insert(VersionRow).values(**values))

    def _run(self, *statement) -> None:
        self.connection.execute(*statement)


def key_of(infant_id: str) -> str:
    """What stands for an id in names of files and in all tables but one."""
    return hashlib.sha256(check_id(infant_id).encode()).hexdigest()


def check_id(infant_id: str) -> str:
    """The id in one spelling of Unicode (NFC); StoreError for one that cannot be written or read.

    Any text without control characters goes; upper and lower case are different.
    """
    try:
        infant_id.encode()
    except UnicodeEncodeError:
        raise StoreError("the infant's id is not UTF-8 text") from None
    text = normal(infant_id)
    if not text.strip():
        raise StoreError("the infant's id is empty: give it a name")
    if len(text) > MAX_ID:
        raise StoreError(f"the infant's id has {len(text)} characters, at most {MAX_ID} can be")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise StoreError(f"the infant's id {text!r} holds a control character")
    return text


def named_files(connection: Connection) -> set[str]:
    rows = connection.execute(select(VersionRow.model_file, VersionRow.baseline_file))
    return {name for row in rows for name in row if name}


def _record(row) -> StoredRecording:
    values = {field.name: getattr(row, field.name) for field in fields(StoredRecording)}
    return StoredRecording(**values | {"vector": np.frombuffer(row.vector, dtype="<f4")})


def _row(key: str, record: StoredRecording) -> dict:
    values = {field.name: getattr(record, field.name) for field in fields(StoredRecording)}
    return values | {"key": key, "vector": np.asarray(record.vector, dtype="<f4").tobytes()}


def _kept_version(infant_id: str, row) -> KeptVersion:
    names = [field.name for field in fields(NormalBand) if field.name != "infant_id"]
    values = {name: getattr(row, name) for name in names}
    for name in ("low", "centre", "high"):
        values[name] = np.nan if values[name] is None else values[name]
    files = VersionFiles(row.model_file, row.baseline_file) if row.model_file else None
    return KeptVersion(NormalBand(infant_id=infant_id, **values), files, row.remark)
