"""The tables between stages: one schema each, read and written as Parquet.

Units are in the column names: ``_s`` seconds, ``_hz`` hertz, ``_db`` decibels.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import TableError

if TYPE_CHECKING:
    import pandera.pandas as pa

LABELS = ("cry", "other", "unknown")
PARTS = ("train", "val", "test")

# name -> (column -> (dtype, nullable)); the order is the order in the file
COLUMNS: dict[str, dict[str, tuple[str, bool]]] = {
    # One row a clip. ``path`` is relative to the repository root (the cleaned FLAC).
    "clips": {
        "clip_id": ("str", False),  # "<corpus>/<stem>", unique over all corpora
        "corpus": ("str", False),
        "path": ("str", False),
        "source_path": ("str", False),  # as in the publisher's layout, below the corpus folder
        "sha256": ("str", False),  # of the decoded 16 kHz mono samples
        "duration_s": ("float64", False),
        "rate_hz": ("int64", False),  # as recorded
        "bandwidth_hz": ("float64", False),  # measured, of the source
        "peak_dbfs": ("float64", False),
        "rms_dbfs": ("float64", False),
        "label": ("str", False),  # cry, other, unknown
        "category": ("str", False),  # the publisher's own class
        "recording_id": ("str", False),  # what the clip was cut from
        "infant_id": ("str", True),
        "session_id": ("str", True),
        "recorded_at": ("datetime64[ns, UTC]", True),
        "licence": ("str", False),
    },
    # Strong labels.
    "events": {
        "clip_id": ("str", False),
        "onset_s": ("float64", False),
        "offset_s": ("float64", False),
        "label": ("str", False),
    },
    # Every input that was refused.
    "quarantine": {
        "corpus": ("str", False),
        "source_path": ("str", False),
        "reason": ("str", False),
    },
    # One row a plain second and model: the long form, so that a model is a value, not a column.
    "scores": {
        "model": ("str", False),
        "clip_id": ("str", False),
        "start_s": ("float64", False),
        "end_s": ("float64", False),
        "score": ("float64", False),
    },
    # One row a mined second.
    "mined": {
        "clip_id": ("str", False),
        "start_s": ("float64", False),
        "score": ("float64", False),
        "rank": ("int64", False),  # 0 is the clip's highest
    },
    # Clips that hold the same sound as wholes: all members of a cluster, the canonical one first.
    "duplicates": {
        "cluster_id": ("str", False),
        "clip_id": ("str", False),
        "similarity": ("float64", False),  # to the canonical member, 0..1
        "canonical": ("bool", False),
    },
    # Pairs of clips that share a section (an excerpt, a mixture) and are no duplicates.
    "overlaps": {
        "first_clip_id": ("str", False),
        "second_clip_id": ("str", False),
        "offset_s": ("float64", False),  # at which the second begins on the clock of the first
        "shared_s": ("float64", False),  # from the first to the last sound that both have
        "share": ("float64", False),  # shared_s of the shorter clip's duration, 0..1
        "evidence": ("float64", False),  # nats, for shared sound against chance
    },
}

# What `split` adds to `clips`.
COLUMNS["split_clips"] = COLUMNS["clips"] | {
    "cluster_id": ("str", True),  # of duplicates; null for a clip without any
    "canonical": ("bool", False),  # false for a duplicate of another clip
    "group_id": ("str", False),  # recordings, clusters and infants that must stay together
    "split": ("str", False),  # train, val, test
}


@cache
def schema(name: str) -> pa.DataFrameSchema:
    """The pandera schema of table ``name``."""
    import pandera.pandas as pa

    checks = {
        "label": pa.Check.isin(LABELS) if name != "events" else None,
        "split": pa.Check.isin(PARTS),
        "duration_s": pa.Check.gt(0),
        "onset_s": pa.Check.ge(0),
        "start_s": pa.Check.ge(0),
    }
    columns = {
        column: pa.Column(
            None if dtype == "str" else dtype,
            nullable=nullable,
            checks=checks.get(column),
        )
        for column, (dtype, nullable) in COLUMNS[name].items()
    }
    unique = ["clip_id"] if name in ("clips", "split_clips") else None
    return pa.DataFrameSchema(columns, strict=True, unique=unique)


def empty(name: str) -> pd.DataFrame:
    """A table of that name with no rows."""
    return conform(pd.DataFrame(columns=list(COLUMNS[name])), name)


def conform(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """``frame`` with the columns in order and in their types (missing columns are an error)."""
    missing = [column for column in COLUMNS[name] if column not in frame.columns]
    if missing:
        raise TableError(f"table {name}: column(s) {', '.join(missing)} are missing")
    frame = frame[list(COLUMNS[name])].reset_index(drop=True)
    for column, (dtype, _) in COLUMNS[name].items():
        try:
            if dtype == "str":
                frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
            elif dtype.startswith("datetime64"):
                frame[column] = pd.to_datetime(frame[column], utc=True).astype(dtype)
            else:
                frame[column] = frame[column].astype(dtype)
        except (TypeError, ValueError) as error:
            raise TableError(f"table {name}: column {column}: {error}") from error
    return frame


def validate(frame: pd.DataFrame, name: str, where: str = "") -> pd.DataFrame:
    """``frame`` if it keeps the schema of ``name``; otherwise a TableError with column and row."""
    import pandera.errors

    try:
        return schema(name).validate(conform(frame, name), lazy=True)
    except pandera.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        raise TableError(
            f"table {name}{f' ({where})' if where else ''}: column {case['column']}, row "
            f"{case['index']}: value {case['failure_case']!r} breaks {case['check']}; "
            f"{len(error.failure_cases)} such case(s)"
        ) from error


def write_table(frame: pd.DataFrame, path: Path | str, name: str) -> None:
    """Validate and write a table as Parquet, atomically; equal tables give equal bytes."""
    frame = validate(frame, name, str(path))
    with atomic_path(path) as temp:
        frame.to_parquet(temp, index=False, compression="zstd")


def read_table(path: Path | str, name: str) -> pd.DataFrame:
    """Read and validate a table; a missing or broken file is a TableError that names it."""
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path} is missing: run the stage that makes it (dvc repro)")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read as Parquet: {error}") from error
    return validate(frame, name, str(path))
