"""The user's own recordings: a folder of audio and ``recordings.csv`` with what is known of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crywatch.corpora.base import AUDIO, ClipEntry, Corpus, Refused
from crywatch.corpora.rows import Row, read_rows
from crywatch.corpora.sessions import number_sessions

TABLE = "recordings.csv"
COLUMNS = ("path", "label", "infant", "recorded_at", "category")
LABELS = ("cry", "other", "unknown")
FIRST_YEAR, LAST_YEAR = 1860, 2200  # of a recording


@dataclass(frozen=True)
class Recording:
    """One row of the table."""

    path: str  # below the folder, with forward slashes
    label: str  # cry, other, unknown
    infant: str | None
    recorded_at: datetime | None
    category: str  # the user's own class or remark; the label where there is none


class Recordings(Corpus):
    """``recordings.csv`` (path, label, infant, recorded_at, category) and the files that it names.

    Only ``path`` is required. ``label`` is cry, other or unknown (the default); ``recorded_at`` is
    ISO 8601, in UTC where it names no zone; ``category`` is the user's own class or remark. A table
    with semicolons is read too.
    """

    name = "recordings"
    citation = "Recordings of the user."
    licence = "the user's own"
    terms = "The recordings are the user's; what may be done with them is for the user to say."
    commercial_use = True
    homepage = ""
    remotes = ()
    obtain = (
        f"it is a folder of your own audio with a table {TABLE} ({', '.join(COLUMNS)}; only path "
        "is required); name it with -S corpus.recordings.folder=FOLDER"
    )

    def check(self, folder: Path) -> None:
        """The table must be there, and all of its rows be right."""
        self.require(folder, TABLE)
        read_recordings(folder)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """Rows of the table in their order, then audio files that it does not list."""
        rows = read_recordings(folder)
        sessions = _sessions(rows)
        for row in rows:
            yield ClipEntry(
                source_path=row.path,
                label=row.label,
                category=row.category,
                recording_id=f"recordings/{row.path}",
                licence=self.licence,
                infant_id=None if row.infant is None else f"recordings/{row.infant}",
                session_id=sessions.get(row.path),
                recorded_at=row.recorded_at,
            )
        listed = {row.path for row in rows}
        for path in self.audio_files(folder, "."):
            if path not in listed:
                yield Refused(path, f"not listed in {TABLE}")


def read_recordings(folder: Path) -> list[Recording]:
    """The table of ``folder``; CorpusError names file, row and column of what is wrong."""
    table = folder / TABLE
    rows: dict[str, Row] = {}
    found = []
    for row in read_rows(table, ("path",), COLUMNS, _delimiter(table)):
        path = _path(folder, row)
        if path in rows:
            raise row.error("path", f"{path!r} stands in line {rows[path].line} already")
        rows[path] = row
        label = row["label"].lower() or "unknown"
        if label not in LABELS:
            raise row.error("label", f"{row['label']!r} is none of {', '.join(LABELS)}")
        category = row["category"] or label
        found.append(Recording(path, label, row["infant"] or None, _time(row), category))
    return found


def _delimiter(table: Path) -> str:
    """What a spreadsheet puts between cells: a semicolon where the comma is a decimal sign."""
    with open(table, "rb") as handle:
        head = handle.readline()
    return ";" if b";" in head and b"," not in head else ","


def _path(folder: Path, row: Row) -> str:
    path = row.inside("path")
    if Path(path).suffix.lower() not in AUDIO:
        raise row.error("path", f"{path!r} is not an audio file ({', '.join(sorted(AUDIO))})")
    if not (folder / path).is_file():
        raise row.error("path", f"there is no file {path!r} below {folder}")
    return path


def _time(row: Row) -> datetime | None:
    text = row["recorded_at"]
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise row.error(
            "recorded_at", f"{text!r} is not a time such as 2025-03-31T04:30:00+02:00"
        ) from None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:  # a mistyped one, and more than tables can hold
        raise row.error("recorded_at", f"{text!r} is of the year {time.year}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _sessions(rows: list[Recording]) -> dict[str, str]:
    """A session for each path of a known infant: by gaps of time, or one for all without a time."""
    sessions: dict[str, str] = {}
    timed: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        if row.infant is not None and row.recorded_at is not None:
            timed[row.infant].append(row)
        elif row.infant is not None:
            sessions[row.path] = f"recordings/{row.infant}/undated"
    for infant, members in timed.items():
        numbers = number_sessions([row.recorded_at for row in members if row.recorded_at])
        for row, number in zip(members, numbers, strict=True):
            sessions[row.path] = f"recordings/{infant}/{number:03d}"
    return sessions
