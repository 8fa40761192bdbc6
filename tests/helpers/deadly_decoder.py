"""A worker whose decoder dies of files by their names: run as a script it serves in its place."""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from crywatch.audio import guard
from crywatch.audio.guard import Limits

LIMITS = Limits(stall_s=60.0, stall_cpu_s=20.0, memory_mib=256)
TIGHT = {  # for what shall end by a limit of time: a busy machine keeps the others far from it
    "sleep": Limits(stall_s=2.0, stall_cpu_s=20.0, memory_mib=256),
    "spin": Limits(stall_s=60.0, stall_cpu_s=0.5, memory_mib=256),
}
CAUSES = {  # by the beginning of a file's name
    "abort": r"its decoder crashed \(SIGABRT\)",
    "exit": "its decoder ended with exit status 3",
    "sleep": "its decoder gave nothing for 2 s",
    "spin": r"its decoder gave nothing in 0\.5 s of computing",
    "eat": "decoding it takes more than 256 MiB of memory",
    "odd": r"cannot be decoded \(IndexError: no such stream\)",
}


@contextmanager
def used(monkeypatch):
    """Decode with it."""
    guard.end_workers()
    with monkeypatch.context() as patch:
        patch.setattr(guard, "COMMAND", (sys.executable, __file__))
        yield
        guard.end_workers()


class DeadlyReader(guard.BlockReader):
    """Dies before the second block of a file, or of what has only one at its end."""

    n_files = 0

    def __iter__(self):
        DeadlyReader.n_files += 1
        for number, block in enumerate(super().__iter__()):
            if number * len(block) > guard.GATHER_SAMPLES:
                self._die()
            yield block
        self._die()

    def _die(self):
        match self.path.name.partition("-")[0]:
            case "abort":
                os.abort()
            case "exit":
                os._exit(3)
            case "sleep":
                time.sleep(60)
            case "spin":
                while True:
                    pass
            case "eat":
                kept = []
                while True:
                    kept.append(bytearray(b"x" * (1 << 24)))
            case "odd":
                raise IndexError("no such stream")
            case "second" if DeadlyReader.n_files > 1:  # as a heap that another file has damaged
                os.abort()
            case "print":
                os.write(1, b"a library's remark\n")


if __name__ == "__main__":
    sys.path.append(str(Path(guard.__file__).parents[2]))
    guard.BlockReader = DeadlyReader
    guard.serve()
