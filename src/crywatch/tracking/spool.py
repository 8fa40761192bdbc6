"""The journals that the store has not got in full yet: one folder for a project and its copies."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

from crywatch.core import paths
from crywatch.core.atomic import TEMP_PREFIX, read_json
from crywatch.tracking.journal import HEAD, Journal
from crywatch.tracking.store import home

FOLDER = paths.WORK / "tracking"


def folder() -> Path:
    """Where journals are, in the project that keeps the store."""
    return home() / FOLDER / "spool"


def journals() -> list[Path]:
    """Folders of journals, in the order in which they were begun."""
    return sorted(path for path in _names(folder()) if not path.name.startswith(TEMP_PREFIX))


def _names(spool: Path) -> list[Path]:
    try:
        return list(spool.iterdir())
    except OSError:
        return []


def new_key() -> str:
    """What a run is found by, in the store and here."""
    return uuid.uuid4().hex


def create(head: dict) -> Journal:
    """A journal for a stage that begins: numbered, as a clock may go back."""
    taken = [path.name.partition("-")[0] for path in journals()]
    number = max((int(name) for name in taken if name.isdigit()), default=0) + 1
    return Journal.create(folder(), f"{number:06d}-{head['key']}", head)


def heads() -> list[dict]:
    """What is known of the runs whose journals are here."""
    found = []
    for path in journals():
        with contextlib.suppress(OSError, ValueError):
            found.append(read_json(path / HEAD))
    return found
