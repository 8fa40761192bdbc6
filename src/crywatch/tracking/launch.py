"""The process that sends journals, as stages and commands see it: begun, ended, and what it met.

A store has one sender at a time for a project and its copies. It holds the store's lock, in whose
file its number stands. What it needs itself, MLflow above all, is not imported here (`sender`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from crywatch.core.digest import value_sha256
from crywatch.core.lock import POLL_S, FileLock
from crywatch.tracking.store import FOLDER, Target, home, warn

MODULE = "crywatch.tracking.sender"
TROUBLES = FOLDER / "troubles.txt"


def lock_of(address: str) -> FileLock:
    """The lock of the store's sender."""
    return FileLock(home() / FOLDER / f"sender-{value_sha256(address)[:12]}.lock")


def ensure(target: Target, linger_s: float) -> None:
    """Begin a sender for the store unless it has one.

    It is a process of its own that outlives the stage; with nothing to do it ends after
    ``linger_s``. OSError where none can be begun.
    """
    lock = lock_of(target.address)
    lock.path.parent.mkdir(parents=True, exist_ok=True)
    if not lock.take():
        return
    try:
        os.truncate(lock.path, 0)  # the number of the one before
        with open(log_file(lock), "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(lock.handle)],
                cwd=home(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[lock.handle],  # with it the lock is the sender's from its first moment
                start_new_session=True,
            )
        process.returncode = 0  # nobody waits for it
        assert process.stdin is not None
        with process.stdin as to:  # the address may hold a password, and arguments are shown
            to.write(json.dumps(asdict(target) | {"linger_s": linger_s}).encode())
    finally:
        lock.free()


def log_file(lock: FileLock) -> Path:
    """What the sender printed; without a word of it the file is taken away."""
    return lock.path.with_suffix(".log")


@contextmanager
def sole(address: str, wait_s: float) -> Iterator[bool]:
    """Be the store's only sender: one that works sends what there is, and ends.

    False where it did not within ``wait_s``.
    """
    lock = lock_of(address)
    taken = True
    with suppress(OSError):  # a project that takes no files has no sender either
        lock.path.parent.mkdir(parents=True, exist_ok=True)
        taken = _take_over(lock, wait_s)
    try:
        yield taken
    finally:
        lock.free()


def end(address: str, wait_s: float) -> None:
    """Have the store's sender send what there is, and end; its last word may come later."""
    if lock_of(address).path.is_file():
        with sole(address, wait_s):
            pass


def _take_over(lock: FileLock, wait_s: float) -> bool:
    until_s, asked = time.monotonic() + wait_s, 0
    while not lock.take():
        pid = _number(lock.path)
        if pid not in (0, asked):
            asked = pid
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if time.monotonic() >= until_s:
            return False
        time.sleep(POLL_S)
    os.truncate(lock.path, 0)
    return True


def _number(path: Path) -> int:
    """Of the sender's process; 0 before it has said it, or where the lock is no sender's."""
    with suppress(OSError, ValueError, OverflowError, psutil.Error):
        pid = int(path.read_text())
        if MODULE in psutil.Process(pid).cmdline():
            return pid
    return 0


def note_trouble(line: str) -> None:
    """Leave a line for the next stage or command that tells troubles."""
    with suppress(OSError), open(home() / TROUBLES, "a", encoding="utf-8") as troubles:
        troubles.write(f"{line}\n")


def tell_troubles() -> None:
    """Warn once of all that the sender met since."""
    path = home() / TROUBLES
    mine = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with suppress(OSError):
        os.replace(path, mine)
        lines = mine.read_text(encoding="utf-8").splitlines()
        mine.unlink()
        for line in dict.fromkeys(lines):
            warn(line)
