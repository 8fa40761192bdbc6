"""The database: tables, its version, and how it is opened.

A writer holds the whole database from the first statement on (BEGIN IMMEDIATE), so what it reads is
still true when it writes. What is deleted is overwritten (secure_delete).
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, ForeignKey, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.types import DateTime, TypeDecorator

from crywatch.core.atomic import no_room, private_dir, private_file
from crywatch.core.errors import StoreError

DATABASE = "infants.sqlite"
VERSION = 2  # of the tables below
APPLICATION = 0x43525957  # "CRYW": tells the file from other databases
WAIT_S = 60.0  # for another process


class Utc(TypeDecorator):
    """A time with a zone, kept in UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables. Digests alone are indexed, never names or paths: a name stands in one place."""


class InfantRow(Base):
    """An infant; ``key`` stands for its id everywhere else."""

    __tablename__ = "infants"

    key: Mapped[str] = mapped_column(primary_key=True)  # digest of the id
    infant_id: Mapped[str]
    model: Mapped[str]  # name, one of `models.MODELS`
    maker: Mapped[str]  # digest of all that gives a score its meaning
    embedding: Mapped[str]  # digest of all that gives a vector its meaning
    version: Mapped[int]  # the model that scores now
    recent: Mapped[str]  # alarms of the latest recordings, "0" and "1", the oldest first


class VersionRow(Base):
    """A version of an infant's model and its band; the files are below the store's folder."""

    __tablename__ = "versions"

    key: Mapped[str] = mapped_column(
        ForeignKey(InfantRow.key, ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(Utc)
    model_file: Mapped[str]  # empty: no longer kept
    baseline_file: Mapped[str]  # the same
    clips: Mapped[int]
    sessions: Mapped[int]
    low: Mapped[float | None]  # null: nothing could be calibrated on
    centre: Mapped[float | None]
    high: Mapped[float | None]
    rate: Mapped[float]
    reachable: Mapped[float]
    promised: Mapped[bool]
    reason: Mapped[str | None]
    remark: Mapped[str | None]  # what a person did that makes it doubtful


class RecordingRow(Base):
    """A recording of an infant, and what came of it."""

    __tablename__ = "recordings"

    key: Mapped[str] = mapped_column(
        ForeignKey(InfantRow.key, ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(primary_key=True)  # of the decoded samples
    path: Mapped[str]
    recorded_at: Mapped[datetime] = mapped_column(Utc)
    session_id: Mapped[str]
    cries: Mapped[int]
    cry_s: Mapped[float]
    vector: Mapped[bytes]  # float32, little endian
    phase: Mapped[str]  # baseline or new
    score: Mapped[float | None]
    p: Mapped[float | None]
    alarm: Mapped[bool]
    accepted: Mapped[bool]
    reason: Mapped[str | None]
    version: Mapped[int]
    remark: Mapped[str | None]
    waiting: Mapped[bool]  # accepted since the latest fit


class PageRow(Base):
    """A file that was written about an infant outside the store."""

    __tablename__ = "pages"

    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(ForeignKey(InfantRow.key, ondelete="CASCADE"))
    path: Mapped[str]
    sha256: Mapped[str]  # as it was written


def connect(folder: Path) -> Engine:
    """The database in ``folder``, made where there is none.

    Raises StoreError if the file is of a newer version, of another program, damaged, or stays
    locked.
    """
    path = folder / DATABASE
    try:
        private_dir(folder)
        # SQLite gives its log the permissions of the database.
        private_file(path)
    except OSError as error:
        raise StoreError(
            f"{folder}: {error.strerror}: the infants are kept there; set infant.store to a folder "
            "that this user can write"
        ) from error
    engine = create_engine(
        f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": WAIT_S}
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            version = _version(connection, path)
        if version < VERSION:
            _to_wal(engine)
            with writing(engine) as connection:
                _bring_up(connection, _version(connection, path))  # another may have by now
    except DatabaseError as error:
        raise unusable(folder, error) from error
    return engine


def writing(engine: Engine):
    """A connection that alone may write, as a context: committed at its end or rolled back."""
    return engine.execution_options(begin="IMMEDIATE").begin()


def outside(engine: Engine):
    """A connection without a transaction, as a context: for what SQLite does in none."""
    return engine.execution_options(begin="").connect()


def unusable(folder: Path, error: Exception) -> StoreError:
    """A database error as one that says what to do."""
    text = str(getattr(error, "orig", error))
    if number := no_room(folder):  # the disk knows it; SQLite says that input or output failed
        text, advice = os.strerror(number), "make room there, the store itself is whole"
    elif "locked" in text or "busy" in text:
        advice = f"another process has held it for {WAIT_S:g} s; try again when that has ended"
    elif "full" in text:
        advice = "make room there"
    elif "readonly" in text or "unable to open" in text:
        advice = "let this user read and write that file and its folder"
    else:
        advice = "put back a copy of the whole folder, or move it away and enroll the infants again"
    return StoreError(f"{folder / DATABASE}: {text}: {advice}")


def _prepare(connection, record) -> None:
    """Each new connection; transactions are begun by `_begin`, not by the driver."""
    connection.isolation_level = None
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection) -> None:
    mode = connection.get_execution_options().get("begin", "DEFERRED")
    if mode:
        connection.exec_driver_sql(f"BEGIN {mode}")


def _to_wal(engine: Engine) -> None:
    """So that readers do not wait for a writer. SQLite does not wait for a lock to change this."""
    until = time.monotonic() + WAIT_S
    with outside(engine) as connection:
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.05)


def _version(connection: Connection, path: Path) -> int:
    """Of the tables that are there, 0 without any; StoreError where they are not these."""

    def value(pragma: str) -> int:
        return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()

    version = value("user_version")
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if not tables and not version:
        return 0
    if value("application_id") != APPLICATION:
        raise StoreError(
            f"{path}: a database of another program: move it away, or set infant.store to another "
            "folder"
        )
    if version > VERSION:
        raise StoreError(
            f"{path}: its tables are of version {version}, this crywatch knows {VERSION}: use the "
            "newer crywatch that wrote it, or set infant.store to another folder"
        )
    return version


def _bring_up(connection: Connection, version: int) -> None:
    """Make the tables, or add to those of an earlier ``version`` what they lack."""
    if version == 0:
        Base.metadata.create_all(connection)
    elif version == 1:
        connection.exec_driver_sql("ALTER TABLE versions ADD COLUMN remark VARCHAR")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
