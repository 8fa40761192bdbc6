"""Locks that are free again when their owner is gone, however it went."""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from pathlib import Path
from typing import IO

POLL_S = 0.05

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """One holder at a time, among processes and threads, of the lock that a file stands for.

    The system frees it when the process ends. A forked worker drops its copy: one that outlives
    the stage which forked it does not keep the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: IO[str] | None = None

    def take(self, wait_s: float = 0.0) -> bool:
        """Whether the lock is held now; False if another one still had it after ``wait_s``.

        Raises
        ------
        OSError
            The file cannot be made, or its folder is gone.
        """
        until_s = time.monotonic() + wait_s
        handle = open(self.path, "a")  # noqa: SIM115 - closing it frees the lock
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    handle.close()
                    return False
                time.sleep(POLL_S)
                continue
            self._handle = handle
            _held.add(self)
            return True

    def free(self) -> None:
        """Let the next one in."""
        _held.discard(self)
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _drop_in_child() -> None:
    for lock in list(_held):
        lock.free()


os.register_at_fork(after_in_child=_drop_in_child)
