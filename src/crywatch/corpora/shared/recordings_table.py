"""``recordings.csv``: what a user says of a folder of recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crywatch.core.atomic import atomic_path
from crywatch.core.names import Disk, is_recording, normal
from crywatch.corpora.shared.rows import Row, read_rows

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


def read_recordings(folder: Path) -> list[Recording]:
    """The table of ``folder``; CorpusError names file, row and column of what is wrong."""
    rows: dict[str, Row] = {}
    recordings = []
    disk = Disk(folder)
    for row in read_cells(folder):
        path = _path(disk, row)
        if path in rows:
            raise row.error("path", f"{path!r} stands in line {rows[path].line} already")
        rows[path] = row
        label = row["label"].lower() or "unknown"
        if label not in LABELS:
            raise row.error("label", f"{row['label']!r} is none of {', '.join(LABELS)}")
        category = row["category"] or label
        infant = normal(row["infant"]) or None
        recordings.append(Recording(path, label, infant, _time(row), category))
    return recordings


def read_cells(folder: Path) -> list[Row]:
    """The rows of the table as they stand there, whatever there is of their files."""
    table = folder / TABLE
    return list(read_rows(table, ("path",), COLUMNS, _delimiter(table)))


def write_cells(folder: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write the table anew, atomically, with the delimiter that the one which is there has."""
    table = folder / TABLE
    delimiter = _delimiter(table) if table.is_file() else ","
    with atomic_path(table) as temp, open(temp, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, "", delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _delimiter(table: Path) -> str:
    """What a spreadsheet puts between cells: a semicolon where the comma is a decimal sign."""
    with open(table, "rb") as handle:
        head = handle.readline()
    return ";" if b";" in head and b"," not in head else ","


def _path(disk: Disk, row: Row) -> str:
    path = row.inside("path", disk)
    if not (disk.folder / path).is_file():
        raise row.error("path", f"there is no file {path!r} below {disk.folder}")
    if not is_recording(disk.folder / path):
        raise row.error("path", f"{path!r} is not an audio file, by its name and by its content")
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
