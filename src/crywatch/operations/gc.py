"""What may go: old runs, copies of the project, clips that nobody labelled, records never sent.

Each piece is found with its size and the reason, and is removed only when that is asked for.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from crywatch.core.atomic import TEMP_PREFIX
from crywatch.core.errors import UnreachableError
from crywatch.core.lock import FileLock
from crywatch.listening.clips.folder import UNKNOWN, ClipFolder
from crywatch.operations import worktree
from crywatch.tracking import entries, journal, old_runs, registry
from crywatch.tracking.store import home

DAY_S = 86_400.0
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Litter:
    """One piece that may go."""

    kind: str  # run, copy, clips, records
    name: str
    n_bytes: int
    why: str
    remove: Callable[[], None]

    @property
    def line(self) -> str:
        """For a terminal."""
        return f"{self.kind:<8}{size(self.n_bytes):>9}  {self.name}: {self.why}"


@dataclass(frozen=True)
class Limits:
    """What is kept."""

    runs: int = 20  # rebuilds, the latest
    days: float = 30.0  # nothing younger goes

    def before_s(self) -> float:
        """Since the epoch; what is older may go."""
        return time.time() - self.days * DAY_S


def find(project: Path, limits: Limits, clips: Sequence[Path] = ()) -> Iterator[Litter]:
    """All that may go, of the project in the working directory and of ``clips`` folders."""
    yield from _runs(limits)
    yield from _copies(project, limits)
    for folder in clips:
        yield from _clips(folder, limits)
    yield from _records(limits)


def size(n_bytes: float) -> str:
    """Three digits and a unit."""
    for unit in UNITS:
        if n_bytes < 1000 or unit == UNITS[-1]:
            break
        n_bytes /= 1000
    return f"{n_bytes:.3g} {unit}"


def _runs(limits: Limits) -> Iterator[Litter]:
    try:
        store = registry.open_registry(create=False)
    except UnreachableError:  # no rebuild was made here, or its server is gone
        return
    for old in old_runs.find(store, limits.runs, int(1000 * limits.before_s())):
        why = "deleted in MLflow" if old.was_deleted else f"older than {limits.days:g} days"
        below = f" with {len(old.run_ids) - 1} below it" if len(old.run_ids) > 1 else ""
        n_bytes = sum(map(_bytes, old.folders))

        def remove(old: old_runs.OldRun = old) -> None:
            old_runs.remove(store, old)

        yield Litter("run", f"{old.name} [{old.run_ids[-1][:8]}]{below}", n_bytes, why, remove)


def _copies(project: Path, limits: Limits) -> Iterator[Litter]:
    for folder in worktree.copies(project):
        idle_days = (time.time() - _newest_s(folder)) / DAY_S
        if idle_days < limits.days or _is_worked_in(folder):
            continue

        def remove(folder: Path = folder) -> None:
            worktree.remove(project, folder)

        why = f"a copy of the project, unused for {idle_days:.0f} days"
        yield Litter("copy", str(folder.relative_to(project)), _bytes(folder), why, remove)


def _clips(folder: Path, limits: Limits) -> Iterator[Litter]:
    kept = ClipFolder(folder)
    before_s = limits.before_s()
    old = [
        clip.path
        for clip in kept.clips()
        if clip.label == UNKNOWN and datetime.fromisoformat(clip.recorded_at).timestamp() < before_s
    ]
    if old:
        n_bytes = sum(_bytes(kept.file(path)) for path in old)
        why = f"{len(old)} clips that nobody labelled, older than {limits.days:g} days"
        yield Litter("clips", str(folder), n_bytes, why, lambda: kept.remove(old))


def _records(limits: Limits) -> Iterator[Litter]:
    """Journals of the spool that no store took, and notes of stages whose project is gone."""
    before_s = limits.before_s()
    spool = journal.spool_folder()
    for folder in [*journal.journals(), *spool.glob(f"{TEMP_PREFIX}*")]:
        if _newest_s(folder) < before_s:
            try:
                where = journal.read_head(folder).get("store", "a store")
            except (OSError, ValueError):
                where = "a store (its head is damaged)"
            why = f"records that {where} never took: `crywatch deliver` sends them"
            yield Litter("records", folder.name, _bytes(folder), why, _journal_remover(folder))
    for note in sorted((home() / entries.NOTES).glob("*.json")):
        if note.stat().st_mtime < before_s:
            why = "a stage that waits for its entry in dvc.lock"
            yield Litter("records", note.name, note.stat().st_size, why, note.unlink)


def _journal_remover(folder: Path) -> Callable[[], None]:
    def remove() -> None:
        lock = FileLock(folder / journal.LOCK)
        if lock.take():  # else its stage is still at work
            try:
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                lock.free()

    return remove


def _is_worked_in(folder: Path) -> bool:
    """Whether a process of this machine has its working directory in it."""
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                return True
        except (psutil.Error, OSError):
            continue
    return False


def _newest_s(folder: Path) -> float:
    """When something in a folder, or in one of its folders, was last changed."""
    places = [folder, *folder.iterdir(), *folder.glob("*/*")]
    return max(place.lstat().st_mtime for place in places)


def _bytes(path: Path) -> int:
    """Of a file, or of all in a folder; what links count for is told once."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    total, seen = 0, set()
    for folder, _, names in os.walk(path):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total
