"""Publishers' and users' tables (CSV, TSV): an error names file, row and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crywatch.core import gate
from crywatch.core.errors import CorpusError
from crywatch.core.names import Disk


@dataclass(frozen=True)
class Row:
    """One row; ``line`` is its line in the file, the header's being 1."""

    file: Path
    line: int
    values: dict[str, str]  # by column, without spaces around them; empty where a cell is missing

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    def number(self, column: str) -> float:
        """The cell as a finite number."""
        try:
            number = float(self[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(column, f"{self[column]!r} is not a number")
        return number

    def filled(self, column: str) -> str:
        """The cell, which must not be empty."""
        if not self[column]:
            raise self.error(column, "is empty")
        return self[column]

    def inside(self, column: str, disk: Disk | None = None) -> str:
        """The cell as a path with forward slashes, which must not lead out of its folder.

        Where ``disk`` says which it is, the path is as it is spelt there, and no link leads out.
        """
        text, place = self.filled(column).replace("\\", "/"), self._place(column)
        try:
            path = PurePosixPath(gate.below(text, place)).as_posix()
            if disk is not None:
                path = disk.spelt(path)
                gate.inside(disk.folder, path, place)
            return path
        except gate.GateError as error:
            raise CorpusError(str(error)) from error

    def error(self, column: str, what: str) -> CorpusError:
        """What is wrong with a cell, to be raised."""
        return CorpusError(f"{self._place(column)}: {what}")

    def _place(self, column: str) -> str:
        return f"{self.file}, line {self.line}, column {column}"


def read_rows(
    file: Path, required: Sequence[str], known: Sequence[str] | None = None, delimiter: str = ","
) -> Iterator[Row]:
    """The rows of ``file``, empty ones left out.

    Raises
    ------
    CorpusError
        The file is not UTF-8 text, a column of ``required`` is missing, or (where ``known`` is
        given) a column is neither required nor known.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            _check_columns(file, columns, required, known)
            reader.fieldnames = columns
            for cells in reader:
                extra = cells.pop(None, None)  # where DictReader puts what has no column
                values = {name: (cell or "").strip() for name, cell in cells.items() if name}
                if extra and any(cell.strip() for cell in extra):
                    raise CorpusError(
                        f"{file}, line {reader.line_num}: more cells than the header has columns"
                    )
                if any(values.values()):
                    yield Row(file, reader.line_num, values)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file}: not UTF-8 text (save the table as CSV UTF-8)") from error
    except csv.Error as error:
        raise CorpusError(f"{file}: not a table of text ({error})") from error


def _check_columns(
    file: Path, columns: Sequence[str], required: Sequence[str], known: Sequence[str] | None
) -> None:
    absent = [name for name in required if name not in columns]
    if absent:
        raise CorpusError(
            f"{file}, line 1: column(s) {', '.join(absent)} are missing; there are: "
            f"{', '.join(filter(None, columns)) or 'none'}"
        )
    if known is not None:
        for name in columns:
            if name and name not in known:
                raise CorpusError(
                    f"{file}, line 1: column {name!r} is unknown; there can be {', '.join(known)}"
                )
