"""The files that a user names, and when each was recorded.

The time comes from a table of recordings, else from the command line, else from the file's own
modification time, which is said: copying a file may have changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crywatch.core.errors import CrywatchError
from crywatch.corpora.recordings_table import (
    FIRST_YEAR,
    LAST_YEAR,
    TABLE,
    Recording,
    read_recordings,
)
from crywatch.detection.detect import find_files


@dataclass(frozen=True)
class UserFile:
    """A file, and what is known of it."""

    path: Path
    recorded_at: datetime  # with a time zone
    remark: str | None = None


def user_files(
    paths: Sequence[Path],
    infant_id: str,
    table: Path | None,
    at: str | None,
    say: Callable[[str], None],
) -> list[UserFile]:
    """The audio files of ``paths`` (folders give those below them), in the order given.

    ``table`` is a recordings.csv; without ``paths`` it gives the rows of that infant, or all where
    no row names one. ``at`` is an ISO time, in UTC where it names no zone. Raises CrywatchError
    where nothing is found, where the time is none, or the table has errors; a row of another infant
    is one.
    """
    rows = {} if table is None else _rows(table)
    files = list(find_files(paths))
    if not paths and table is not None:
        named = sorted({row.infant for row in rows.values() if row.infant is not None})
        wanted = infant_id if named else None
        files = [
            table.parent / row.path
            for row in rows.values()
            if row.infant == wanted and row.label != "other"
        ]
        if not files:
            told = f"; column infant names {', '.join(map(repr, named[:5]))}" if named else ""
            raise CrywatchError(f"{table}: no recording of infant {infant_id!r}{told}")
    elif paths and not files:
        raise CrywatchError(f"no audio files in {', '.join(map(str, paths))}")
    given = None if at is None else _time(at)
    guessed: list[UserFile] = []
    found = [_file(path, infant_id, rows.get(path.resolve()), given, guessed) for path in files]
    _say_guessed(guessed, say)
    return found


def _rows(table: Path) -> dict[Path, Recording]:
    if table.name != TABLE:
        raise CrywatchError(
            f"{table}: the table must be named {TABLE} and lie in the folder of its recordings"
        )
    if not table.is_file():
        raise CrywatchError(f"{table}: no such file")
    folder = table.resolve().parent
    return {(folder / row.path).resolve(): row for row in read_recordings(folder)}


def _file(
    path: Path,
    infant_id: str,
    row: Recording | None,
    given: datetime | None,
    guessed: list[UserFile],
) -> UserFile:
    remark = None
    if row is not None:
        if row.infant not in (None, infant_id):
            raise CrywatchError(f"{path}: by the table it is of infant {row.infant!r}")
        remark = row.category if row.category != row.label else None
        if row.recorded_at is not None:
            return UserFile(path, row.recorded_at, remark)
    if given is not None:
        return UserFile(path, given, remark)
    try:
        time = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    except OSError:
        # It cannot be read either, which is told when it is listened to.
        return UserFile(path, datetime.fromtimestamp(0, UTC), remark)
    guessed.append(UserFile(path, time, remark))
    return guessed[-1]


def _say_guessed(files: Sequence[UserFile], say: Callable[[str], None]) -> None:
    """One message, however many there are."""
    if not files:
        return
    first, last = (end(file.recorded_at for file in files).isoformat() for end in (min, max))
    if len(files) == 1:
        what = f"{files[0].path}: its modification time, {first}, stands"
    else:
        what = f"{len(files)} files: their modification times, from {first} to {last}, stand"
    say(f"{what} for the time of recording; {TABLE} with --table, or --at, tells a better one")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CrywatchError(
            f"--at: {text!r} is not a time such as 2025-03-31T04:30:00+02:00"
        ) from None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise CrywatchError(f"--at: {text!r} is of the year {time.year}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)
