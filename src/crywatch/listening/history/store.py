"""Minutes and events of the last weeks in one SQLite file, for its owner alone.

Times are seconds since 1970, UTC. A connection is made for each call: any thread may call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from crywatch.core.atomic import private_dir, private_file
from crywatch.core.errors import StoreError
from crywatch.listening.events import CryEvent

MINUTE_S = 60
VERSION = 1
WAIT_S = 10.0  # for another that writes
TABLES = """
create table minutes (
    start real, source text, seconds integer, level_dbfs real, cry real,
    primary key (start, source)
) without rowid;
create table events (
    id text primary key, source text, onset real, end real, peak real, label text,
    infant text, p real, unusual integer, reason text, cries integer
) without rowid;
create index events_by_time on events (onset);
"""


@dataclass(frozen=True)
class Minute:
    """A minute of a source, of which ``seconds`` were heard."""

    start: float
    source: str
    seconds: int
    level_dbfs: float  # the loudest second
    cry: float  # the highest score


@dataclass(frozen=True)
class InfantScore:
    """How an event compares with one infant's own crying; see `crywatch.infants.conformal`."""

    infant: str
    p: float | None  # how often its own normal crying is as far from its normal; None: no cry in it
    unusual: bool
    reason: str  # why it says nothing, or was not taken into the normal; empty where it was
    cries: int


@dataclass(frozen=True)
class PastEvent:
    """An event; without an end it goes on."""

    id: str
    source: str
    onset: float
    end: float | None
    peak: float
    label: str = "unknown"  # cry, other, unknown: what a person said of it
    score: InfantScore | None = None


class History:
    """The store at ``path``, made where there is none.

    Raises StoreError where the file is no store of this version.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        private_dir(self.path.parent)
        with self._open() as connection:
            version = connection.execute("pragma user_version").fetchone()[0]
            tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
            if version == 0 and not tables:
                connection.executescript(f"{TABLES} pragma user_version = {VERSION};")
            elif version != VERSION:
                raise self._error("no history of this version")

    def add(self, minute: Minute) -> None:
        """A minute; what is known of it already, before a restart, is joined."""
        with self._open() as connection:
            connection.execute(
                "insert into minutes values (?, ?, ?, ?, ?) on conflict do update set "
                "seconds = min(60, seconds + excluded.seconds), cry = max(cry, excluded.cry), "
                "level_dbfs = max(level_dbfs, excluded.level_dbfs)",
                astuple(minute),
            )

    def put(self, event: CryEvent) -> None:
        """An event at its onset, and again at its end; what was said of it stays."""
        end = None if event.end is None else event.end.timestamp()
        with self._open() as connection:
            connection.execute(
                "insert into events (id, source, onset, end, peak, label) "
                "values (?, ?, ?, ?, ?, 'unknown') on conflict do update set "
                "end = excluded.end, peak = excluded.peak",
                (event.id, event.source, event.onset.timestamp(), end, event.peak),
            )

    def label(self, event_id: str, label: str) -> None:
        """What a person says of an event; StoreError where there is none of that id."""
        with self._open() as connection:
            done = connection.execute("update events set label = ? where id = ?", (label, event_id))
            if not done.rowcount:
                raise StoreError(f"{self.path}: no event {event_id!r}")

    def score(self, event_id: str, score: InfantScore) -> None:
        """How an event compares with an infant's own crying."""
        with self._open() as connection:
            connection.execute(
                "update events set infant = ?, p = ?, unusual = ?, reason = ?, cries = ? "
                "where id = ?",
                (*astuple(score), event_id),
            )

    def event(self, event_id: str) -> PastEvent | None:
        """The event of that id."""
        with self._open() as connection:
            rows = connection.execute("select * from events where id = ?", (event_id,))
            return next(map(_event, rows), None)

    def minutes(self, start: float, stop: float) -> list[Minute]:
        """Those that begin in [start, stop), by time."""
        with self._open() as connection:
            rows = connection.execute(
                "select * from minutes where start >= ? and start < ?", (start, stop)
            )
            return [Minute(*row) for row in rows]

    def events(self, start: float, stop: float) -> list[PastEvent]:
        """Those that lie in [start, stop) at least in part, by onset."""
        with self._open() as connection:
            rows = connection.execute(
                "select * from events where onset < ? and (end is null or end >= ?) "
                "order by onset, id",
                (stop, start),
            )
            return list(map(_event, rows))

    def scored(self, infant: str, start: float) -> list[PastEvent]:
        """Events since ``start`` that were compared with an infant's own crying, by onset."""
        with self._open() as connection:
            rows = connection.execute(
                "select * from events where infant = ? and p is not null and onset >= ? "
                "order by onset, id",
                (infant, start),
            )
            return list(map(_event, rows))

    def end_open(self, sources: Sequence[str]) -> None:
        """End events that a killed listener left open at the last minute that was heard."""
        with self._open() as connection:
            for source in sources:
                connection.execute(
                    "update events set end = max(onset, coalesce((select max(start) + ? from "
                    "minutes where source = ?), onset)) where end is null and source = ?",
                    (MINUTE_S, source, source),
                )

    def prune(self, before: float) -> None:
        """Forget what lies before a time."""
        with self._open() as connection:
            connection.execute("delete from minutes where start < ?", (before,))
            connection.execute("delete from events where onset < ?", (before,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            private_file(self.path)
            connection = sqlite3.connect(self.path, timeout=WAIT_S)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            raise self._error(str(error)) from error

    def _error(self, what: str) -> StoreError:
        return StoreError(f"{self.path}: {what}: move it away, or name another file")


def _event(row: tuple) -> PastEvent:
    event, score = row[: len(fields(PastEvent)) - 1], row[len(fields(PastEvent)) - 1 :]
    past = PastEvent(*event)
    if score[0] is None:
        return past
    infant, p, unusual, reason, cries = score
    verdict = InfantScore(infant, p, bool(unusual), reason or "", cries or 0)
    return replace(past, score=verdict)
