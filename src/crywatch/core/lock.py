"""Locks that are free again when their owner is gone, however it went.

The filelock library (4.2) does not serve. It makes the lock's folder where that is gone, in
`acquire` itself: it would bring back a journal which another process has delivered and removed, and
a look before it leaves a moment between the two. It has no public way to the open file, which holds
the owner's name (`operations.retrain.lock`). Where a file system knows no flock it turns to marker
files, which outlive their owner.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crywatch.core.atomic import PRIVATE_FILE

POLL_S = 0.05

_taken: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """One holder at a time, among processes and threads, of the lock that a file stands for.

    The system frees it when the process ends. A forked worker drops its copy: one that outlives
    the stage which forked it does not keep the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = -1  # of the open file, while the lock is held: its content is the holder's

    def take(self, wait_s: float = 0.0) -> bool:
        """Whether the lock is held now; False if another one still had it after ``wait_s``.

        Raises
        ------
        OSError
            The file cannot be made, or its folder is gone.
        """
        until_s = time.monotonic() + wait_s
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    os.close(handle)
                    return False
                time.sleep(POLL_S)
                continue
            except BaseException:
                os.close(handle)
                raise
            self.handle = handle
            _taken.add(self)
            return True

    def free(self) -> None:
        """Let the next one in."""
        _taken.discard(self)
        if self.handle >= 0:
            os.close(self.handle)  # which frees it
            self.handle = -1


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Hold the lock at ``path``, once those before are done; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    lock.take(wait_s=float("inf"))
    try:
        yield
    finally:
        lock.free()


def _drop_in_child() -> None:
    for lock in list(_taken):
        lock.free()


os.register_at_fork(after_in_child=_drop_in_child)
