"""What one stage records of itself, kept on disk until the store has it.

The spool, one folder for a project and its copies, holds a journal for each stage that the store
has not got in full yet. A journal is a folder: ``head.json`` (the run to create), ``journal.jsonl``
(a record a line, in order), ``files/`` (what is to be uploaded), ``cursor.json`` (how far it was
delivered) and ``lock`` (of the stage that writes it). Another process, the store's sender, delivers
it meanwhile. A line is handed to the system as soon as it is recorded, so a kill loses nothing, and
synced to disk by the sender, so a power cut loses the last seconds.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core.atomic import TEMP_PREFIX, read_json, write_json
from crywatch.core.lock import FileLock
from crywatch.core.redact import redacted_in
from crywatch.tracking.store import FOLDER, home

HEAD, LINES, FILES, CURSOR, LOCK = "head.json", "journal.jsonl", "files", "cursor.json", "lock"
MOST_IN_MEMORY = 20_000  # records in memory while the disk takes none; the oldest go first
# Bytes; larger files are linked, as stages replace files and never write into them.
COPIED = 1 << 20
ABANDONED_S = 3600.0  # after which what a kill left of a beginning or an end is taken away
DAMAGED = {"do": "damaged", "at": 0}


@dataclass(frozen=True)
class Record:
    """What was recorded, and where it ends in the file; None where only memory holds it."""

    content: dict[str, Any]
    end: int | None


class Clock:
    """Milliseconds since the epoch that never go back, whatever is done to the system's clock."""

    def __init__(self) -> None:
        self._wall_ms, self._started_s = int(time.time() * 1000), time.monotonic()

    def now_ms(self) -> int:
        """The time now."""
        return self._wall_ms + int((time.monotonic() - self._started_s) * 1000)


class Journal:
    """One folder of the spool, written by the stage that holds its lock.

    One process at a time delivers it, which the sender's lock sees to (`launch`).
    """

    def __init__(self, folder: Path, head: dict[str, Any], lock: FileLock) -> None:
        self.folder, self.head = folder, head
        self.clock = Clock()
        self.done_count = 0  # records
        self.lost = 0  # records that neither the disk nor memory had room for
        self.on_full: Callable[[OSError], None] = lambda error: None
        self._lock = lock
        self._temporary: Path | None = None  # taken away with it
        self._names = itertools.count()
        self._fd: int | None = None
        self._size = 0
        self._in_memory: deque[bytes] = deque()
        self._guard = threading.Lock()
        # What the deliverer wants to know again: the offset, the run id and the like.
        self.state = self._read_cursor()

    @classmethod
    def create(cls, spool: Path, name: str, head: dict[str, Any]) -> Journal:
        """A new journal below ``spool``; OSError if there is no room for one."""
        spool.mkdir(parents=True, exist_ok=True)
        temp = spool / f"{TEMP_PREFIX}{name}"
        head = redacted_in(head)
        try:
            (temp / FILES).mkdir(parents=True)
            lock = FileLock(temp / LOCK)
            lock.take()  # before anybody can see it
            write_json(temp / HEAD, head)
            (temp / LINES).touch()
            os.rename(temp, spool / name)
        except OSError:
            shutil.rmtree(temp, ignore_errors=True)
            raise
        lock.path = spool / name / LOCK
        journal = cls(spool / name, head, lock)
        journal._fd = os.open(journal.folder / LINES, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return journal

    @classmethod
    def temporary(cls, name: str, head: dict[str, Any]) -> Journal:
        """One that is lost with the machine, for a project whose own folder takes no files."""
        journal = cls.create(Path(tempfile.mkdtemp(prefix="crywatch-")), name, head)
        journal._temporary = journal.folder.parent
        return journal

    @classmethod
    def open(cls, folder: Path) -> Journal | None:
        """To deliver it; None where it was delivered and taken away, or its head is damaged."""
        try:
            return cls(folder, read_head(folder), FileLock(folder / LOCK))
        except (OSError, ValueError):
            return None

    # The stage's side

    def append(self, do: str, **what: Any) -> None:
        """Append a record; it is kept in memory while the disk is full."""
        line = {"do": do, "at": self.clock.now_ms(), **what}
        self._add(json.dumps(line if do == "metrics" else redacted_in(line)).encode() + b"\n")

    def _add(self, line: bytes) -> None:
        with self._guard:
            self._in_memory.append(line)
            while self._in_memory:
                try:
                    self._write(self._in_memory[0])
                except OSError as error:
                    if len(self._in_memory) > MOST_IN_MEMORY:
                        self._in_memory.popleft()
                        self.lost += 1
                    self.on_full(error)
                    return
                self._in_memory.popleft()

    def _write(self, line: bytes) -> None:
        if self._fd is None:
            raise OSError(errno.EBADF, "the journal is closed")
        try:
            if os.write(self._fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._fd, self._size)  # no half line in the middle
            raise
        self._size += len(line)

    @property
    def only_here(self) -> bool:
        """Whether this process alone has some of it: the disk took no more."""
        return bool(self._in_memory) or self._temporary is not None

    def make(self, name: str, write: Callable[[Path], Any]) -> Path:
        """A file (or folder) of that name to be uploaded, as ``write`` makes it at a path.

        While the disk of the spool is full it lies where temporary files do.
        """
        try:
            path = self._new_file(name)
            write(path)
            return path
        except FileNotFoundError:  # what it is made of
            raise
        except OSError as error:
            self.on_full(error)
        path = self._temporary_folder() / f"{next(self._names):05d}" / Path(name).name
        path.parent.mkdir()
        write(path)
        return path

    def _new_file(self, name: str) -> Path:
        folder = self.folder / FILES / f"{next(self._names):05d}"
        folder.mkdir()
        return folder / Path(name).name

    def _temporary_folder(self) -> Path:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="crywatch-"))
        return self._temporary

    def keep(self, path: Path) -> Path:
        """A copy of a file or folder as it is now; its own path if there is no room for one.

        Raises
        ------
        FileNotFoundError
            There is nothing at ``path``.
        """
        os.stat(path)
        copy = None
        try:
            copy = self._new_file(path.absolute().name)
            if path.is_dir():
                shutil.copytree(path, copy, copy_function=copy_file)
            else:
                copy_file(path, copy)
        except OSError as error:
            if copy is not None:
                shutil.rmtree(copy.parent, ignore_errors=True)
                if isinstance(error, PermissionError):  # of the file that is to be kept
                    raise
            self.on_full(error)
            return path.absolute()
        return copy

    # The deliverer's side

    def is_over(self) -> bool:
        """Whether its stage records no more: it has ended, or was killed."""
        with contextlib.suppress(OSError):
            return self._lock.handle >= 0 or self._lock.take()
        return True

    def sync(self) -> None:
        """Let what was recorded so far survive a power cut."""
        with contextlib.suppress(OSError), open(self.folder / LINES, "rb") as lines:
            os.fdatasync(lines.fileno())

    def reread(self) -> None:
        """Go on from where another process has delivered it to."""
        self.state = self._read_cursor()

    def take(self, most: int) -> list[Record]:
        """The next records that were not delivered; a line that is still being written waits."""
        records: list[Record] = []
        at = self.state.get("offset", 0)
        with contextlib.suppress(FileNotFoundError), open(self.folder / LINES, "rb") as lines:
            lines.seek(at)
            for line in itertools.islice(lines, most):
                if not line.endswith(b"\n"):
                    break
                at += len(line)
                records.append(Record(_read(line), at))
        if not records:  # in order: memory holds what came after the disk was full
            with self._guard:
                records = [
                    Record(_read(line), None) for line in itertools.islice(self._in_memory, most)
                ]
        return records

    def done(self, records: list[Record]) -> None:
        """They are in the store. Written without a sync: to deliver a record again is harmless."""
        self.done_count += len(records)
        for record in records:
            if record.end is not None:
                self.state["offset"] = record.end
                continue
            with self._guard:  # unless the disk took it meanwhile
                if self._in_memory and _read(self._in_memory[0]) == record.content:
                    self._in_memory.popleft()
        temp = self.folder / f"{TEMP_PREFIX}{CURSOR}"
        with contextlib.suppress(OSError):
            temp.write_text(json.dumps(self.state))
            os.replace(temp, self.folder / CURSOR)

    def left(self) -> int:
        """How many records the store does not have yet."""
        left = 0
        with contextlib.suppress(FileNotFoundError), open(self.folder / LINES, "rb") as lines:
            lines.seek(self.state.get("offset", 0))
            left = sum(line.endswith(b"\n") for line in lines)
        return left + len(self._in_memory)

    def finish(self) -> None:
        """All of it was delivered: take the folder away, under a name that is no journal's."""
        trash = self.folder.with_name(f"{TEMP_PREFIX}{self.folder.name}")
        try:
            os.rename(self.folder, trash)
        except OSError:
            trash = self.folder
        shutil.rmtree(trash, ignore_errors=True)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Leave it to the next one."""
        with self._guard:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
        self._lock.free()

    def _read_cursor(self) -> dict[str, Any]:
        try:
            return dict(read_json(self.folder / CURSOR))
        except (OSError, ValueError, TypeError):
            return {}


def _read(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:  # a power cut
        return DAMAGED
    return record if isinstance(record, dict) and "do" in record else DAMAGED


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file as it is now, or link a large one."""
    if os.stat(source).st_size > COPIED:
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(os.path.realpath(source), target)
            return
    shutil.copyfile(source, target)


def spool_folder() -> Path:
    """Where journals are, in the project that keeps the store."""
    return home() / FOLDER / "spool"


def journals() -> list[Path]:
    """Folders of journals, in the order in which they were begun."""
    with contextlib.suppress(OSError):
        return sorted(
            path for path in spool_folder().iterdir() if not path.name.startswith(TEMP_PREFIX)
        )
    return []


def create(head: dict[str, Any]) -> Journal:
    """A journal in the spool for a stage that begins: numbered, as a clock may go back."""
    taken = [path.name.partition("-")[0] for path in journals()]
    number = max((int(name) for name in taken if name.isdigit()), default=0) + 1
    return Journal.create(spool_folder(), f"{number:06d}-{head['key']}", head)


def read_head(folder: Path) -> dict[str, Any]:
    """Of a journal; ValueError where a power cut damaged it."""
    return dict(read_json(folder / HEAD))


def heads() -> list[dict[str, Any]]:
    """What is known of the runs whose journals are in the spool."""
    contents = []
    for path in journals():
        with contextlib.suppress(OSError, ValueError):
            contents.append(read_head(path))
    return contents


def sweep_spool() -> None:
    """Take away what is left where one was killed while it began or ended a journal."""
    for folder in spool_folder().glob(f"{TEMP_PREFIX}*"):
        lock = FileLock(folder / LOCK)
        try:
            if time.time() - folder.stat().st_mtime > ABANDONED_S and lock.take():
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            lock.free()
