"""Table ``details``: what only some publishers say of a clip (sex, age, cause, official part).

It stands beside ``clips.parquet`` where a corpus has any, so that the clips table stays the same
for all corpora.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import TableError
from crywatch.corpora.shared.base import Details

if TYPE_CHECKING:
    import pandas as pd

FILE = "details.parquet"
NUMBERS = ("age_months",)
COLUMNS = ("clip_id", *(field.name for field in fields(Details)))


@dataclass(frozen=True)
class ClipDetails:
    """One row."""

    clip_id: str
    details: Details


def write_details(rows: Iterable[ClipDetails], path: Path) -> None:
    """Write the table as Parquet, atomically; columns are `COLUMNS`, unknown values null."""
    import pandas as pd

    values = [{"clip_id": row.clip_id, **asdict(row.details)} for row in rows]
    frame = pd.DataFrame(values, columns=list(COLUMNS))
    for column in COLUMNS:
        if column in NUMBERS:
            frame[column] = frame[column].astype("float64")
        else:
            frame[column] = frame[column].astype(object).where(frame[column].notna(), None)
    with atomic_path(path) as temp:
        frame.to_parquet(temp, index=False, compression="zstd")


def read_details(path: Path) -> pd.DataFrame:
    """Read the table; TableError where it is missing or has other columns."""
    import pandas as pd

    if not path.is_file():
        raise TableError(f"{path} is missing: the corpus tells no details, or was not cleaned yet")
    frame = pd.read_parquet(path)
    if tuple(frame.columns) != COLUMNS:
        raise TableError(f"{path}: columns {list(frame.columns)}, expected {list(COLUMNS)}")
    return frame
