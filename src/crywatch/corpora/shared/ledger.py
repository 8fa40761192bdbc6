"""The ledger of clips that cannot be had: a JSON line each, appended, so that none is asked twice.

A kill at any byte loses at most the line that was being written: a torn tail is cut off when the
ledger is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from crywatch.core.atomic import write_bytes
from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.rows import read_rows

FILE = "ledger.jsonl"
REPORT = "yield.csv"  # beside it: a row a class of clips, then all
COLUMNS = ("class", "wanted", "had", "failed", "gone")  # and the reasons


@dataclass(frozen=True)
class Gone:
    """A clip that its host does not give, and will not."""

    clip: str
    reason: str  # private, removed, terminated and so on
    message: str  # the host's own words
    asked_on: str  # ISO 8601 date, UTC


class Ledger:
    """The file at ``path``, open for appending."""

    def __init__(self, path: Path):
        self.path = path
        self.gone: dict[str, Gone] = {}
        if path.is_file():
            kept = _parse(path, self.gone)
            if kept < path.stat().st_size:
                with open(path, "rb+") as handle:
                    handle.truncate(kept)

    def add(self, gone: Gone) -> None:
        """Append a line; it is on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as handle:
            handle.write(_line(gone))
            handle.flush()
            os.fsync(handle.fileno())
        self.gone[gone.clip] = gone


def read_ledger(path: Path) -> dict[str, Gone]:
    """What is gone, by clip; nothing where there is no ledger. The file is not changed."""
    gone: dict[str, Gone] = {}
    if path.is_file():
        _parse(path, gone)
    return gone


def n_failed(folder: Path) -> int:
    """Clips that failed for no lasting reason, by the report in ``folder``; 0 where none is."""
    if not (folder / REPORT).is_file():
        return 0
    rows = list(read_rows(folder / REPORT, COLUMNS))
    return int(rows[-1].number("failed")) if rows else 0


def write_ledger(path: Path, gone: Iterable[Gone]) -> None:
    """Write a whole ledger, atomically."""
    write_bytes(path, b"".join(map(_line, gone)))


def _line(gone: Gone) -> bytes:
    return json.dumps(asdict(gone), sort_keys=True).encode() + b"\n"


def _parse(path: Path, gone: dict[str, Gone]) -> int:
    """Fill ``gone``; the bytes of whole lines. CorpusError where a whole line is none of ours."""
    n_bytes = 0
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = Gone(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise CorpusError(
                    f"{path}, line {number}: not a line of a ledger ({error}); remove the line, "
                    "and its clip is asked for again"
                ) from error
            gone[entry.clip] = entry
            n_bytes += len(line)
    return n_bytes
