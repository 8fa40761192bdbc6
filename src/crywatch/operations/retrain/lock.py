"""One retraining at a time: a lock that outlives no owner.

The kernel's lock on the file (flock) is what excludes: it ends with the process, whatever ends it,
and two that start at once cannot both have it. The file's content says who has it. A machine that
shares the folder over a network may not see the other's flock: an owner on another machine is
watched for three heartbeats, by this machine's monotonic clock, and is gone if its count stands
still. No wall clock decides, so one that jumps does no harm.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from crywatch.core.errors import CrywatchError
from crywatch.core.lock import FileLock
from crywatch.tracking.parent import Process, this_process

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BEATS = 3  # without one of so many the owner on another machine is gone
READ_TRIES = 5


class AlreadyRunning(CrywatchError):
    """Another retraining has the lock."""


@dataclass(frozen=True)
class Owner:
    """Who has, or had, the lock."""

    process: str  # `Process.text`
    host: str
    boot: str  # of the kernel it runs on
    started_at: str  # UTC, for people
    beat: int = 0  # rises while it lives

    def __str__(self) -> str:
        pid = self.process.partition(":")[0]
        return f"process {pid} on {self.host}, since {self.started_at}"


def boot_id() -> str:
    """Of the running kernel; two containers on one machine have the same."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        return f"{psutil.boot_time():.0f}"


def me(now: str) -> Owner:
    """This process."""
    return Owner(this_process().text, socket.gethostname(), boot_id(), now)


@contextmanager
def locked(path: Path, now: str, heartbeat_s: float) -> Iterator[str]:
    """Hold the lock at ``path``; yields a note on an owner that was taken over, or "".

    Raises
    ------
    AlreadyRunning
        A live owner has it; the message says who.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    if not lock.take():
        with open(path, "rb") as content:
            owner = _read(content.fileno())
        name = "a process that has not said its name yet" if owner is None else owner
        raise AlreadyRunning(f"another retraining is running: {name} ({path})")
    handle = lock.handle
    try:
        before = _read(handle)
        takeover = "" if before is None else _take_over(handle, before, path, heartbeat_s)
        mine = me(now)
        _write(handle, mine)
        stop = threading.Event()
        beating = threading.Thread(
            target=_beat, args=(handle, mine, heartbeat_s, stop), daemon=True
        )
        beating.start()
        try:
            yield takeover
        finally:
            stop.set()
            beating.join()
            os.ftruncate(handle, 0)  # given back: the next one takes nothing over
    finally:
        lock.free()


def _take_over(handle: int, before: Owner, path: Path, heartbeat_s: float) -> str:
    """A note on ``before``, who did not give the lock back; AlreadyRunning if it lives."""
    if before.boot == boot_id():
        # The same kernel: it would have kept the flock, unless this file system has none.
        if before.host == socket.gethostname() and Process.parse(before.process).alive():
            raise AlreadyRunning(f"another retraining is running: {before} ({path})")
        why = "its process is gone"
    elif before.host == socket.gethostname():
        why = "this machine was started again since"
    else:
        deadline_s = time.monotonic() + BEATS * heartbeat_s
        while time.monotonic() < deadline_s:
            time.sleep(min(heartbeat_s / 4, 1.0))
            now = _read(handle)
            if now is not None and now != before:
                raise AlreadyRunning(f"another retraining is running: {now} ({path})")
        why = f"it gave no sign for {BEATS * heartbeat_s:g} s"
    return f"the lock of {before} was taken over: {why}"


def _beat(handle: int, mine: Owner, heartbeat_s: float, stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(heartbeat_s):
        beat += 1
        with suppress(OSError):  # a disk that is full or away for a while: the next beat comes
            _write(handle, replace(mine, beat=beat))


def _write(handle: int, owner: Owner) -> None:
    content = json.dumps(asdict(owner)).encode() + b"\n"
    os.pwrite(handle, content, 0)
    os.ftruncate(handle, len(content))


def _read(handle: int) -> Owner | None:
    """Who the file names; None if nobody, or nobody that can be read."""
    for _ in range(READ_TRIES):  # a reader may come between the two steps of a write
        try:
            content = os.pread(handle, 4096, 0)
            return Owner(**json.loads(content)) if content else None
        except (ValueError, TypeError):
            time.sleep(0.01)
    return None
