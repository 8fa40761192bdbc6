"""AudioSet's own tables: weak segments, strong labels and the names of the classes.

All are streamed: the unbalanced part has two million rows.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.rows import Row, read_rows

SEGMENTS = {
    "balanced": "balanced_train_segments.csv",
    "unbalanced": "unbalanced_train_segments.csv",
    "eval": "eval_segments.csv",
}
STRONG = ("audioset_train_strong.tsv", "audioset_eval_strong.tsv")
CLASSES = "class_labels_indices.csv"
SEGMENT_COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
STRONG_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
CLASS_COLUMNS = ("index", "mid", "display_name")
# They become names of files and addresses.
_YTID = re.compile(r"[A-Za-z0-9_-]{11}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of a segments table."""

    ytid: str
    start_s: float
    end_s: float
    mids: tuple[str, ...]  # of its classes, in the table's order; parents are not added

    @property
    def segment_id(self) -> str:
        """As the strong tables name it: ``<ytid>_<start in ms>``."""
        return segment_id(self.ytid, self.start_s)


@dataclass(frozen=True, slots=True)
class StrongLabel:
    """A row of a strong table."""

    segment_id: str
    onset_s: float  # in the clip
    offset_s: float
    mid: str


@dataclass(frozen=True)
class ClassName:
    """A row of the table of classes."""

    index: int
    mid: str
    name: str  # lower case


def segment_id(ytid: str, start_s: float) -> str:
    """``<ytid>_<start in ms>``."""
    return f"{ytid}_{round(1000 * start_s)}"


def read_segments(file: Path) -> Iterator[Segment]:
    """The rows of a segments table, below its comments; CorpusError names line and column."""
    try:
        with open(file, newline="", encoding="utf-8") as handle:
            reader = csv.reader(handle, skipinitialspace=True)
            for cells in reader:
                if cells and not cells[0].startswith("#"):
                    yield _segment(file, reader.line_num, cells)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file}: not UTF-8 text; fetch it again") from error
    except csv.Error as error:
        raise CorpusError(f"{file}: not a table of text ({error}); fetch it again") from error


def _segment(file: Path, line: int, cells: list[str]) -> Segment:
    if len(cells) != len(SEGMENT_COLUMNS):
        raise CorpusError(
            f"{file}, line {line}: {len(cells)} cells, expected {', '.join(SEGMENT_COLUMNS)}"
        )
    name, start, end, labels = cells
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        start_s = end_s = math.nan
    if _YTID.fullmatch(name) and 0 <= start_s < end_s < math.inf:
        return Segment(name, start_s, end_s, _split(labels))
    # Rows by the million: only one that is wrong is looked at cell by cell.
    row = Row(file, line, dict(zip(SEGMENT_COLUMNS, map(str.strip, cells), strict=True)))
    return Segment(
        ytid(row, "YTID"), *times(row, *SEGMENT_COLUMNS[1:3]), mids(row, "positive_labels")
    )


def ytid(row: Row, column: str) -> str:
    """The id of a video."""
    if not _YTID.fullmatch(row[column]):
        raise row.error(column, f"{row[column]!r} is no id of a video")
    return row[column]


def times(row: Row, start: str, end: str) -> tuple[float, float]:
    """Start and end in seconds, the end after the start."""
    start_s, end_s = row.number(start), row.number(end)
    if not 0 <= start_s < end_s:
        raise row.error(end, f"a clip from {start_s:g} to {end_s:g} s")
    return start_s, end_s


def mids(row: Row, column: str) -> tuple[str, ...]:
    """The ids of classes in a cell, separated by commas."""
    return _split(row[column])


def _split(cell: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, cell.split(","))))


def read_strong(file: Path) -> Iterator[StrongLabel]:
    """The rows of a strong table; CorpusError names line and column."""
    for row in read_rows(file, STRONG_COLUMNS, delimiter="\t"):
        onset_s, offset_s = row.number("start_time_seconds"), row.number("end_time_seconds")
        if not 0 <= onset_s <= offset_s:
            raise row.error("end_time_seconds", f"an event from {onset_s:g} to {offset_s:g} s")
        yield StrongLabel(row.filled("segment_id"), onset_s, offset_s, row.filled("label"))


def read_classes(file: Path) -> list[ClassName]:
    """The classes in the order of the table."""
    return [
        ClassName(int(row.number("index")), row.filled("mid"), row["display_name"].lower())
        for row in read_rows(file, CLASS_COLUMNS)
    ]
