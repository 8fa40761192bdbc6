"""Recordings decoded in a process of their own, so that a decoder's end costs one file.

`GuardedReader` is a `BlockReader` whose file is decoded by a worker. A decoder that crashes, hangs
or takes too much memory ends the worker; the file gets an AudioError with the cause, and the next
one a new worker. A worker serves many files, and ends with the process that it works for, however
that ends.

The parent writes requests, a line of JSON each: to open a file, or, without a path, to go on with
it. Each answer is a line of JSON and the ``samples`` of a block, as float32; one of fewer than
`GATHER_SAMPLES` is the last. A short file, which costs mostly what a file costs, is one answer.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.audio.decode import BlockReader, StreamInfo
from crywatch.audio.waves.resampling import GATHER_SAMPLES, gathered
from crywatch.core.errors import AudioError, ConfigError

PIPE_BYTES = 1 << 20  # of a pipe, where the system lets it be chosen: the size of a block
END_S = 1.0  # that a worker which has closed its pipes may take to end
OUT_OF_MEMORY = 77  # exit status of a worker
NOT_PLAIN = ("path", "info")  # of what a reader tells; all else are plain values
SOURCE = str(Path(__file__).parents[2])  # where the package lies
COMMAND = (  # of a worker; without -P modules of the current folder would go before all others
    *(sys.executable, "-P", "-c"),
    f"import sys; sys.path.append({SOURCE!r}); from crywatch.audio.guard import serve; serve()",
)


@dataclass  # not frozen: OmegaConf merges into it
class Limits:
    """Section ``decoding``: what a file may take until it is given up."""

    stall_s: float = 60.0  # without a block of sound, whatever it waits for
    stall_cpu_s: float = 8.0  # of computing without a block of sound
    memory_mib: int = 768  # more than before the file

    def __post_init__(self) -> None:
        if min(self.stall_s, self.stall_cpu_s, self.memory_mib) <= 0:
            raise ConfigError(f"decoding: limits are above 0, not {self}")

    def cause(self, status: int) -> str:
        """Why a worker ended, from its exit status (a signal is below 0)."""
        if status == OUT_OF_MEMORY:
            return f"decoding it takes more than {self.memory_mib} MiB of memory"
        if status == -signal.SIGALRM:
            return f"its decoder gave nothing for {self.stall_s:g} s"
        if status == -signal.SIGPROF:
            return f"its decoder gave nothing in {self.stall_cpu_s:g} s of computing"
        if status < 0:
            return f"its decoder crashed ({signal.Signals(-status).name})"
        return f"its decoder ended with exit status {status}"


class GuardedReader(BlockReader):
    """A `BlockReader` whose file is decoded by a worker, within ``limits``.

    Raises
    ------
    AudioError
        As of `BlockReader`, and where the decoder crashes or exceeds a limit.
    """

    def __init__(self, path: Path | str, limits: Limits | None = None):
        self.path = Path(path)
        self._limits = limits or Limits()
        self._n_answers = 0
        self._worker: _Worker | None = _idle.pop() if _idle else _Worker()
        try:
            self._block = self._ask()
        except BaseException:
            self._release()
            raise

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while len(block := self._block):
                yield block
                self._block = block[:0] if self._worker is None else self._ask()
        finally:
            self._release()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        """Leave the worker, if it lives, to the next file."""
        worker, self._worker = getattr(self, "_worker", None), None
        if worker is not None and worker.status is None:
            _idle.append(worker)

    def _ask(self) -> np.ndarray:
        """The next block; the first question opens the file."""
        assert self._worker is not None
        try:
            answer, block = self._worker.ask(self._request(self._n_answers))
        except _Ended as ended:
            if ended.status in (OUT_OF_MEMORY, -signal.SIGALRM, -signal.SIGPROF) or ended.first:
                raise AudioError(f"{self.path}: {self._limits.cause(ended.status)}") from ended
            # An earlier file may have damaged the worker: this one again, in a new one.
            self._worker = _Worker()
            count, self._n_answers = self._n_answers, 0
            for _ in range(count):
                self._ask()
            return self._ask()
        self._n_answers += 1
        if len(block) < GATHER_SAMPLES:
            self._release()
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"], str(self.path))
        if "error" in answer:
            raise AudioError(answer["error"])
        self.info = StreamInfo(**answer["info"])
        for name, value in answer["known"].items():
            setattr(self, name, value)
        return block

    def _request(self, number: int) -> dict[str, Any]:
        if number:
            return {}
        folder = os.getcwd() if not self.path.is_absolute() else os.sep
        return {"path": str(self.path), "folder": folder, "limits": asdict(self._limits)}


class _Ended(Exception):
    """A worker has ended: its exit status, and whether this was on the ``first`` file it had."""

    def __init__(self, status: int, first: bool):
        super().__init__(f"exit status {status}")
        self.status, self.first = status, first


class _Worker:
    """The other process, as seen from here."""

    def __init__(self) -> None:
        if not _finalizers:
            # Of multiprocessing: atexit says nothing to the processes of a pool.
            _finalizers.append(util.Finalize(None, end_workers, exitpriority=0))
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C and Ctrl-Z are for the parent, which ends or waits
            pipesize=PIPE_BYTES,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self._n_files = 0
        _living.add(self)

    @property
    def status(self) -> int | None:
        """The exit status; None while it lives."""
        return self._process.returncode

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """The answer and its block [samples]; raises _Ended."""
        to, of = self._process.stdin, self._process.stdout
        assert to is not None and of is not None
        self._n_files += "path" in request
        try:
            to.write(json.dumps(request).encode() + b"\n")
            to.flush()
            answer = json.loads(of.readline())
            block = np.empty(answer["samples"], dtype=np.float32)
            if of.readinto(block.view(np.uint8)) != block.nbytes:  # type: ignore[attr-defined]
                raise EOFError
            return answer, block
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            # What is no answer is the last word of a process that has lost itself.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self.end()
            raise _Ended(self._process.returncode, self._n_files == 1) from error
        except BaseException:  # Ctrl-C: the rest of the answer would be taken for the next one
            self.end()
            raise

    def end(self) -> None:
        """End the process and wait for it: it has nothing to lose."""
        self._process.kill()
        self._process.wait()
        self.leave()

    def leave(self) -> None:
        """Close the pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        _living.discard(self)

    def forget(self) -> None:
        """In a process that was forked: the worker is not its child."""
        self._process.returncode = 0
        self.leave()


_idle: list[_Worker] = []
_living: set[_Worker] = set()
_finalizers: list[util.Finalize] = []  # of this process


def start_worker() -> None:
    """Have one ready for the first file: its start takes 0.2 s, beside what is done meanwhile."""
    if not _idle:
        _idle.append(_Worker())


def end_workers() -> None:
    """End those of this process; the next file has a new one."""
    _idle.clear()
    for worker in list(_living):
        worker.end()


def _forget_idle() -> None:
    """After a fork: the parent's workers are the parent's, and their pipes must not stay open."""
    for worker in _idle:
        worker.forget()
    _idle.clear()
    _living.clear()
    _finalizers.clear()


os.register_at_fork(after_in_child=_forget_idle)


# --- in the worker --------------------------------------------------------------------------------


def serve() -> None:
    """Answer the requests on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGALRM, signal.SIGPROF):
        # By default they end the process, whatever it does and whoever still waits for it.
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM, signal.SIGPROF))
    file = _File()
    with suppress(BrokenPipeError, KeyboardInterrupt):  # nobody is left to answer to
        for line in sys.stdin.buffer:
            answer, block = file.answer(json.loads(line))
            answers.write(json.dumps(answer | {"samples": len(block)}).encode() + b"\n")
            answers.write(block.data)
            answers.flush()


class _File:
    """The file that is being decoded, and its limits."""

    def __init__(self) -> None:
        self._limits = Limits()
        self._path = ""
        self._peak = 0
        self._reader: BlockReader | None = None
        self._blocks: Iterator[np.ndarray] = iter(())

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """What the parent is told, and the block for it; beyond a limit the process ends."""
        block = np.zeros(0, dtype=np.float32)
        try:
            if "path" in request:
                self._prepare(request)
            with self._in_time():
                if "path" in request:
                    os.chdir(request["folder"])
                    self._reader = BlockReader(self._path)
                    self._blocks = gathered(self._reader, GATHER_SAMPLES)
                block = next(self._blocks, block)
            if _peak_bytes() - self._peak > self._limits.memory_mib << 20:
                raise MemoryError  # where the system itself does not limit it
            assert self._reader is not None
            known = {
                name: value
                for name, value in vars(self._reader).items()
                if name not in NOT_PLAIN and not name.startswith("_")
            }
            return {"info": asdict(self._reader.info), "known": known}, block
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except AudioError as error:
            return {"error": str(error)}, block[:0]
        except OSError as error:
            return {"error": error.strerror, "errno": error.errno}, block[:0]
        except Exception as error:  # of a library: it is the file's fault
            reason = f"cannot be decoded ({type(error).__name__}: {error})"
            return {"error": f"{self._path}: {reason}"}, block[:0]

    def _prepare(self, request: dict[str, Any]) -> None:
        self._blocks, self._reader = iter(()), None  # the file before may be half read
        self._path, self._limits = request["path"], Limits(**request["limits"])
        self._peak = _peak_bytes()
        limit_memory(self._limits.memory_mib << 20)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """End the process by a signal unless it leaves here in time."""
        signal.setitimer(signal.ITIMER_REAL, self._limits.stall_s)
        signal.setitimer(signal.ITIMER_PROF, self._limits.stall_cpu_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)


def _peak_bytes() -> int:
    """Of memory that the process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def limit_memory(more_bytes: int) -> None:
    """Let the process have ``more_bytes`` of address space than it has; Linux alone heeds that."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = used + more_bytes if hard < 0 else min(used + more_bytes, hard)  # below 0: no limit
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
