"""A folder of clips and their ``recordings.csv``, which the loader of `recordings` reads.

The listener, its page and `crywatch review` may all be at it: whoever changes the table holds its
lock. All of it is for its owner alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from crywatch.audio.encoding import encoded
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.core import gate
from crywatch.core.atomic import owner_only, private_dir, write_bytes
from crywatch.core.errors import CrywatchError
from crywatch.core.lock import waiting
from crywatch.corpora.shared.recordings_table import LABELS, TABLE, read_cells, write_cells

LOCK = ".tmp-lock"  # litter to every loader
UNKNOWN = "unknown"
NAMED = 120  # characters of a source's or an event's name that stand in a file's
MIB = 1 << 20
DAY_S = 86_400


@dataclass(frozen=True)
class Clip:
    """A row of the table."""

    path: str  # below the folder
    label: str  # cry, other, unknown
    infant: str  # whose source it is; empty where nobody said so
    recorded_at: str  # ISO 8601, UTC, of its first sample
    category: str = ""  # what it is, in the user's own word

    def cells(self) -> dict[str, str]:
        """By column."""
        return vars(self).copy()


def path_of(source: str, event_id: str) -> str:
    """Where the clip of an event lies below its folder."""
    return f"{_word(source)}/{_word(event_id)}.flac"


class ClipFolder:
    """The clips in ``folder``, which is made when the first one is written."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    def file(self, path: str) -> Path:
        """A clip's file; GateError for a path that leads out of the folder."""
        return gate.inside(self.folder, path, str(self.folder))

    def clips(self) -> list[Clip]:
        """All that have their file, in the order of the table; CorpusError where it is damaged."""
        return self._read() if (self.folder / TABLE).is_file() else []

    def write(self, path: str, wave: np.ndarray, recorded_at: datetime, infant: str = "") -> Clip:
        """Add a clip of ``wave`` [samples] at 16 kHz; the file is there before its row."""
        at = recorded_at.astimezone(UTC).isoformat(timespec="seconds")
        clip = Clip(path, UNKNOWN, infant, at)
        data = encoded(to_int16(wave), RATE_HZ, "flac", "flac")
        with self._changing() as clips:
            private_dir(self.file(path).parent)
            write_bytes(self.file(path), data)
            clips[path] = clip
        return clip

    def label(self, path: str, label: str, category: str = "") -> Clip:
        """Say what a clip holds."""
        if label not in LABELS:
            raise CrywatchError(f"{label!r} is no label: there are {', '.join(LABELS)}")
        with self._changing() as clips:
            if path not in clips:
                raise CrywatchError(
                    f"{self.folder} has no clip {path!r}: `crywatch review {self.folder} --list` "
                    "shows those that it has"
                )
            old = clips[path]
            clips[path] = Clip(path, label, old.infant, old.recorded_at, category)
            return clips[path]

    def remove(self, paths: list[str]) -> None:
        """Remove clips, row and file."""
        with self._changing() as clips:
            for path in paths:
                clips.pop(path, None)
        for path in paths:
            self.file(path).unlink(missing_ok=True)

    def prune(self, most_mb: float, most_days: float, now: datetime) -> int:
        """Remove the oldest clips beyond either bound; how many.

        Files that have no row, as a kill leaves them, count too.
        """
        files = [(path.stat(), path) for path in self.folder.glob("*/*.flac")]
        files.sort(key=lambda file: file[0].st_mtime_ns)
        size = sum(status.st_size for status, _ in files)
        gone = []
        for status, path in files:
            old = now.timestamp() - status.st_mtime > most_days * DAY_S
            if not old and size <= most_mb * MIB:
                break
            size -= status.st_size
            gone.append(path.relative_to(self.folder).as_posix())
        if gone:
            self.remove(gone)
        return len(gone)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Clip]]:
        """The clips by path; what is left of them at the end is written."""
        private_dir(self.folder)
        with waiting(self.folder / LOCK), owner_only():
            before = {clip.path: clip for clip in self.clips()}
            after = dict(before)
            yield after
            if after != before:
                write_cells(self.folder, [clip.cells() for clip in after.values()])

    def _read(self) -> list[Clip]:
        clips = []
        for row in read_cells(self.folder):
            path = row.inside("path")
            if self.file(path).is_file():
                label = row["label"].lower() or UNKNOWN
                cells = row["infant"], row["recorded_at"], row["category"]
                clips.append(Clip(path, label, *cells))
        return clips


def _word(text: str) -> str:
    """``text`` as part of a file's name."""
    return re.sub(r"[^\w]+", "-", text).strip("-")[:NAMED] or "source"
