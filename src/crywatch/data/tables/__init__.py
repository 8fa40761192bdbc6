"""The tables between stages: how one with a schema is read, written and checked, as Parquet.

The schemas are constants of the modules beside this one: `clips` (`CLIPS`, `EVENTS`, `SPLIT_CLIPS`
...), `evaluation`, `infants`, `timelines`. A stage imports those that it reads and writes, so that
a change of one table runs no other stage again. Units are in the names of columns: ``_s`` seconds,
``_hz`` hertz, ``_db`` decibels.

Face: `TableSchema`, `read_table`, `write_table`, `write_parts`, `validate`, `conform`, `empty`,
`LABELS`, `PARTS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crywatch.core import gate
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import TableError

if TYPE_CHECKING:
    import pandera.pandas as pa

PATHS = ("path", "source_path")  # columns of files, below the project or a corpus' folder
# What pyarrow and pandas raise on a damaged file: they trust what it says of itself.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
LABELS = ("cry", "other", "unknown")
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class TableSchema:
    """Name and columns of a table, in the order of the file."""

    name: str
    columns: dict[str, tuple[str, bool]]  # to the type and whether nulls may stand in it
    unique: str = ""  # a column whose values are all different
    labels: tuple[str, ...] = LABELS  # that column ``label`` may hold; none: any
    absent: dict[str, Any] = field(default_factory=dict)  # values of columns that older files lack

    @cached_property
    def pandera(self) -> pa.DataFrameSchema:
        """The same as pandera checks it."""
        import pandera.pandas as pa

        checks = {
            "label": pa.Check.isin(self.labels) if self.labels else None,
            "split": pa.Check.isin(PARTS),
            "duration_s": pa.Check.gt(0),
            "onset_s": pa.Check.ge(0),
            "start_s": pa.Check.ge(0),
        }
        columns = {
            column: pa.Column(
                None if dtype == "str" else dtype, nullable=nullable, checks=checks.get(column)
            )
            for column, (dtype, nullable) in self.columns.items()
        }
        return pa.DataFrameSchema(columns, strict=True, unique=self.unique or None)


def empty(schema: TableSchema) -> pd.DataFrame:
    """A table of that schema with no rows."""
    return conform(pd.DataFrame(columns=list(schema.columns)), schema)


def conform(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """``frame`` with the columns in order and in their types (missing columns are an error)."""
    frame = frame.assign(**{k: v for k, v in schema.absent.items() if k not in frame.columns})
    missing = [column for column in schema.columns if column not in frame.columns]
    if missing:
        raise TableError(f"table {schema.name}: column(s) {', '.join(missing)} are missing")
    frame = frame[list(schema.columns)].reset_index(drop=True)
    for column, (dtype, _) in schema.columns.items():
        try:
            if dtype == "str":
                frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
            elif dtype.startswith("datetime64"):
                frame[column] = pd.to_datetime(frame[column], utc=True).astype(dtype)
            else:
                frame[column] = frame[column].astype(dtype)
        except (TypeError, ValueError) as error:
            raise TableError(f"table {schema.name}: column {column}: {error}") from error
    return frame


def validate(frame: pd.DataFrame, schema: TableSchema, where: str = "") -> pd.DataFrame:
    """``frame`` if it keeps ``schema``; otherwise a TableError with column and row."""
    import pandera.errors

    try:
        return schema.pandera.validate(conform(frame, schema), lazy=True)
    except pandera.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        raise TableError(
            f"table {schema.name}{f' ({where})' if where else ''}: column {case['column']}, row "
            f"{case['index']}: value {case['failure_case']!r} breaks {case['check']}; "
            f"{len(error.failure_cases)} such case(s)"
        ) from error


def write_table(frame: pd.DataFrame, path: Path | str, schema: TableSchema) -> None:
    """Validate and write a table as Parquet, atomically; equal tables give equal bytes."""
    frame = validate(frame, schema, str(path))
    with atomic_path(path) as temp:
        frame.to_parquet(temp, index=False, compression="zstd")


def write_parts(frames: Iterable[pd.DataFrame], path: Path | str, schema: TableSchema) -> int:
    """Write a table as `write_table` does, a row group a frame, one of them in memory at a time.

    The number of its rows comes back; without frames the table is empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    kind = pa.Table.from_pandas(empty(schema), preserve_index=False).schema
    fields = [pa.field(f.name, pa.string()) if pa.types.is_null(f.type) else f for f in kind]
    with (
        atomic_path(path) as temp,
        pq.ParquetWriter(temp, pa.schema(fields), compression="zstd") as writer,
    ):
        for frame in frames:
            checked = validate(frame, schema, str(path))
            table = pa.Table.from_pandas(checked, pa.schema(fields), preserve_index=False)
            writer.write_table(table)
            rows += len(checked)
    return rows


def read_table(
    path: Path | str, schema: TableSchema, where: Sequence[tuple[str, str, Any]] | None = None
) -> pd.DataFrame:
    """Read and validate a table; a missing or broken file is a TableError that names it.

    So is one with paths that lead out of their folder.

    ``where``, such as ``[("system", "==", "a/b")]``, reads the row groups that can have such rows.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path} is missing: run the stage that makes it (dvc repro)")
    try:
        frame = pd.read_parquet(path, filters=where)
    except UNREADABLE as error:
        raise TableError(f"{path} cannot be read as Parquet: {error!r}") from error
    return _within(validate(frame, schema, str(path)), path)


def _within(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """``frame`` if its paths lie below their folder; a TableError with column and row if not."""
    above = Path(os.path.abspath(table)).parents
    project = f"{above[min(2, len(above) - 1)]}{os.sep}"  # of data/STAGE/TABLE
    for column in (name for name in PATHS if name in frame.columns):
        for row, path in enumerate(frame[column]):
            try:
                own = path.removeprefix(project)  # an absolute one may lie in it too
                gate.below(own, f"{table}: column {column}, row {row}")
            except gate.GateError as error:
                raise TableError(f"{error}: make the table again with `dvc repro`") from error
    return frame
