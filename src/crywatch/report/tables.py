"""The report's tables: a column is a title and what it shows of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError

JsonRow = Mapping[str, Any]
Cell = str | Callable[[Any], str]  # a row's key, or what makes text of the row
Columns = Mapping[str, Cell] | Sequence[tuple[str, Cell]]  # by title; titles may repeat


@dataclass(frozen=True)
class Table:
    """A table ready to print; cells are text."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""

    def renamed(self, names: Mapping[str, str]) -> Table:
        """The same table, with those ``names`` in place of the cells that are equal to a key."""
        rows = [[names.get(cell, cell) for cell in row] for row in self.rows]
        return replace(self, columns=[names.get(cell, cell) for cell in self.columns], rows=rows)


def table(title: str, columns: Columns, rows: Iterable[Any], note: str = "") -> Table:
    """A line for each of ``rows``, with the cells that ``columns`` make of it."""
    pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
    lines = [
        [str(row[cell]) if isinstance(cell, str) else cell(row) for _, cell in pairs]
        for row in rows
    ]
    return Table(title, [name for name, _ in pairs], lines, note)


def num(key: str, digits: int = 3) -> Callable[[JsonRow], str]:
    """A cell with the number ``key``; ``n/a`` where the row has none."""
    return lambda row: number(row.get(key), digits)


def seconds(key: str) -> Callable[[JsonRow], str]:
    """A cell with the time ``key``."""
    return lambda row: number(row[key], 1) + ("" if row[key] is None else " s")


def interval(key: str, digits: int = 3) -> Callable[[JsonRow], str]:
    """A cell with the number ``key`` and its interval, ``key_low`` to ``key_high``."""
    return lambda row: bracketed(row[key], row.get(f"{key}_low"), row.get(f"{key}_high"), digits)


def groups(row: JsonRow) -> str:
    """Groups with cries, and with other sounds."""
    return " / ".join(number(row.get(key), 0) for key in ("cry_groups", "other_groups"))


def cries(row: JsonRow) -> str:
    """How many rows are cries."""
    return f"{row['n_cry']} of {row['n']}"


def number(value: float | None, digits: int = 3) -> str:
    """Text of a number; ``n/a`` where there is none."""
    return "n/a" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def bracketed(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number with its interval in brackets, if it has one."""
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def plus_minus(mean: float | None, deviation: float | None, digits: int = 3) -> str:
    """A mean with its standard deviation, if it has one."""
    return number(mean, digits) + ("" if deviation is None else f" ± {number(deviation, digits)}")


def threshold_text(value: float) -> str:
    """Two digits of it or, just below 1, of what is missing: 1 alone would call nothing."""
    return f"{value:.2g}" if value < 0.995 or value >= 1 else f"1 - {1 - value:.2g}"


def distinct(rows: Iterable[JsonRow], key: str) -> list[Any]:
    """Values of ``key`` in the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))


def read_output(path: Path, stage: str) -> Any:
    """The JSON file ``path`` of ``stage``; TableError where it is missing."""
    if not path.is_file():
        raise TableError(f"{path} is missing: run `dvc repro {stage}`")
    return read_json(path)
