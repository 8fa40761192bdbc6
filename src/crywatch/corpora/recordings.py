"""The user's own recordings: a folder of audio and ``recordings.csv`` with what is known of it.

Infants may be listed by their names, and pages are handed on: from here on an infant is a number,
in the order in which the table first names it, also where its name stands in the name of a file or
in a remark. Rows that are added below change no number. The tables of clips keep the files' paths.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from crywatch.core import gate
from crywatch.core.names import normal
from crywatch.corpora.shared.base import OWN, ClipEntry, Corpus, Refused
from crywatch.corpora.shared.recordings_table import (
    COLUMNS,
    TABLE,
    Recording,
    read_recordings,
)
from crywatch.corpora.shared.sessions import number_sessions


class Recordings(Corpus):
    """``recordings.csv`` (path, label, infant, recorded_at, category) and the files that it names.

    Only ``path`` is required. ``label`` is cry, other or unknown (the default); ``recorded_at`` is
    ISO 8601, in UTC where it names no zone; ``category`` is the user's own class or remark. A table
    with semicolons is read too.
    """

    name = OWN
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
        """The table must be there, all of its rows be right, and no link lead out of the folder."""
        self.require(folder, TABLE)
        read_recordings(folder)
        for path in folder.rglob("*"):
            if path.is_symlink():
                gate.inside(folder, path.relative_to(folder).as_posix(), str(folder))

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
        in_table = {row.path for row in rows}  # as the disk spells them
        for path in self.audio_files(folder, "."):
            if path not in in_table:
                yield Refused(path, f"not listed in {TABLE}")


def numbered(rows: Iterable[Recording]) -> dict[str, str]:
    """What stands for each infant of the table, by its name there, in the order of the table."""
    names = dict.fromkeys(row.infant for row in rows if row.infant is not None)
    return {name: f"infant {at:02d}" for at, name in enumerate(names, start=1)}


def without_names(text: str, number: Mapping[str, str]) -> str:
    """``text`` with numbers in place of names; a name inside a longer word is left."""
    text = normal(text)  # as names are
    # Digits and single letters stand in too many names of files, and name nobody.
    names = sorted((n for n in number if len(n) > 1 and not n.isdecimal()), key=len, reverse=True)
    if not names:
        return text
    lower = {name.lower(): number[name] for name in reversed(names)}
    letter = r"[^\W\d_]"
    pattern = f"(?<!{letter})({'|'.join(map(re.escape, names))})(?!{letter})"
    return re.sub(
        pattern, lambda match: lower.get(match[0].lower(), "infant"), text, flags=re.IGNORECASE
    )


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
