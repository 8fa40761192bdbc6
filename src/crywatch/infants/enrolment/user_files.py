"""The files that a user names, and when each was recorded.

The time comes from a table of recordings, else from the command line, else from the file's own
modification time, which is said: copying a file may have changed it, so it corrects no time that is
known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crywatch.core.errors import CrywatchError
from crywatch.core.names import normal
from crywatch.corpora.shared.clocks import wrong_time
from crywatch.corpora.shared.recordings_table import (
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
    stated: bool = False  # the time is what a person gave, not the file's modification time


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
    infant_id, rows = normal(infant_id), {} if table is None else _rows(table)
    files = list(find_files(paths))
    if not paths and table is not None:
        files = _files_of(infant_id, table, rows.values())
    elif paths and not files:
        raise CrywatchError(f"no audio files in {', '.join(map(str, paths))}")
    by_user = None if at is None else _time(at)
    out, guesses = [], []
    for path in files:
        row = rows.get(_key(path))
        if row is not None and row.infant not in (None, infant_id):
            raise CrywatchError(f"{path}: by the table it is of infant {row.infant!r}")
        time = row.recorded_at if row is not None and row.recorded_at is not None else by_user
        stated = time is not None
        if time is None:
            time = _modification_time(path)
            if time is not None:
                guesses.append((path, time))
        remark = row.category if row is not None and row.category != row.label else None
        # A file that has none cannot be read either, which the listening says.
        out.append(UserFile(path, time or datetime.now(UTC), remark, stated))
    _say_guesses(guesses, say)
    return out


def _key(path: Path) -> str:
    return normal(str(path.resolve()))


def _rows(table: Path) -> dict[str, Recording]:
    """The rows of a recordings.csv by the `_key` of the file that each is of."""
    if table.name != TABLE:
        raise CrywatchError(
            f"{table}: the table must be named {TABLE} and lie in the folder of its recordings"
        )
    if not table.is_file():
        raise CrywatchError(f"{table}: no such file")
    folder = table.resolve().parent
    return {_key(folder / row.path): row for row in read_recordings(folder)}


def _files_of(infant_id: str, table: Path, rows: Collection[Recording]) -> list[Path]:
    """An infant's files by the table; all of them where no row names an infant."""
    names = sorted({row.infant for row in rows if row.infant is not None})
    wanted = infant_id if names else None
    files = [
        table.parent / row.path for row in rows if row.infant == wanted and row.label != "other"
    ]
    if not files:
        others = f"; column infant names {', '.join(map(repr, names[:5]))}" if names else ""
        raise CrywatchError(f"{table}: no recording of infant {infant_id!r}{others}")
    return files


def _modification_time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    except OSError:
        return None


def _say_guesses(guesses: Sequence[tuple[Path, datetime]], say: Callable[[str], None]) -> None:
    """One message, however many there are."""
    if not guesses:
        return
    first, last = (end(time for _, time in guesses).isoformat() for end in (min, max))
    if len(guesses) == 1:
        what = f"{guesses[0][0]}: its modification time, {first}, stands"
    else:
        what = f"{len(guesses)} files: their modification times, from {first} to {last}, stand"
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
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if wrong := wrong_time(time):
        raise CrywatchError(f"--at: {wrong}")
    return time
