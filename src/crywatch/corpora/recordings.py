"""The user's own recordings: a folder of audio and ``recordings.csv`` with what is known of it.

Infants may be listed by their names, and pages are handed on: from here on an infant is a number,
in the order in which the table first names it, also where its name stands in the name of a file or
in a remark. Rows that are added below change no number. The tables of clips keep the files' paths.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
        number = numbered(rows)
        sessions = _sessions(rows, number)
        for row in rows:
            stem = Path(row.path).stem
            title = without_names(stem, number)
            yield ClipEntry(
                source_path=row.path,
                label=row.label,
                category=without_names(row.category, number),
                recording_id=f"recordings/{without_names(row.path, number)}",
                licence=self.licence,
                infant_id=None if row.infant is None else f"recordings/{number[row.infant]}",
                session_id=sessions.get(row.path),
                recorded_at=row.recorded_at,
                title=title if title != stem else "",
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


def numbered(rows: Iterable[Recording]) -> dict[str, str]:
    """What stands for each infant of the table, by its name there, in the order of the table."""
    names = dict.fromkeys(row.infant for row in rows if row.infant is not None)
    return {name: f"infant {at:02d}" for at, name in enumerate(names, start=1)}


def without_names(text: str, number: Mapping[str, str]) -> str:
    """``text`` with numbers in place of names; a name inside a longer word is left."""
    # Digits and single letters stand in too many names of files, and name nobody.
    names = sorted((n for n in number if len(n) > 1 and not n.isdecimal()), key=len, reverse=True)
    if not names:
        return text
    lower = {name.lower(): number[name] for name in reversed(names)}
    letter = r"[^\W\d_]"
    found = f"(?<!{letter})({'|'.join(map(re.escape, names))})(?!{letter})"
    return re.sub(
        found, lambda match: lower.get(match[0].lower(), "infant"), text, flags=re.IGNORECASE
    )


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


def _sessions(rows: list[Recording], number: Mapping[str, str]) -> dict[str, str]:
    """A session for each path of a known infant: by gaps of time, or one for all without a time."""
    sessions: dict[str, str] = {}
    timed: dict[str, list[Recording]] = defaultdict(list)
    for row in rows:
        if row.infant is not None and row.recorded_at is not None:
            timed[row.infant].append(row)
        elif row.infant is not None:
            sessions[row.path] = f"recordings/{number[row.infant]}/undated"
    for infant, members in timed.items():
        order = number_sessions([row.recorded_at for row in members if row.recorded_at])
        for row, session in zip(members, order, strict=True):
            sessions[row.path] = f"recordings/{number[infant]}/{session:03d}"
    return sessions
