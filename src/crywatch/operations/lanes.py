"""Stages of one rebuild side by side, as many at a time as there are lanes.

DVC runs them one by one, and gives its lock up while a command runs so that another `dvc repro` may
work. Here the stages that wait for nothing run in threads of one DVC: everything but the command
itself happens in one thread at a time, so dvc.lock, the cache and the busy paths are as DVC's own.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from crywatch.core.progress import LANE

Reproduce = Callable[..., list[Any]]  # dvc.repo.reproduce._reproduce


def beside(lanes: int, in_turn: Reproduce) -> Reproduce:
    """DVC's walk over the stages of a rebuild, ``lanes`` at a time where their order allows it.

    What fails is treated as by DVC: with ``on_error="fail"`` no further stage begins, and those
    that run come to their end.
    """

    def reproduce(
        stages: Sequence[Any], graph: Any = None, on_error: str = "fail", **options: Any
    ) -> list[Any]:
        alone = graph is None or options.get("dry") or options.get("interactive")
        if alone or lanes < 2 or len(stages) < 2:
            return in_turn(list(stages), graph=graph, on_error=on_error, **options)
        rebuild = _Rebuild(stages, graph, on_error, **options)
        with _shared(stages[0].repo) as lock, _interrupts(rebuild):
            rebuild.run(lanes, lock)
        return rebuild.result()

    return reproduce


class _Rebuild:
    """Which stages wait, run, have been made, have failed, or are left out because one failed."""

    def __init__(
        self,
        stages: Sequence[Any],
        graph: Any,
        on_error: str,
        force: bool = False,
        force_downstream: bool = False,
        **options: Any,
    ):
        from dvc.repo import reproduce as dvc

        self._dvc = dvc
        self._stages, self._graph, self._on_error = list(stages), graph, on_error
        self._force_downstream, self._options = force_downstream, options
        self._forced = {stage for stage in stages if force}
        self._waiting = list(stages)
        self._ended: set[Any] = set()
        self._made: set[Any] = set()
        self._failed: dict[Any, Exception] = {}
        self.interrupted = False

    def run(self, lanes: int, lock: _SharedLock) -> None:
        """Make the stages; each begins once all that it reads have ended."""
        free = list(range(lanes))
        running: dict[Future[bool], tuple[Any, int]] = {}
        with ThreadPoolExecutor(lanes) as pool:
            while True:
                while free and (stage := self._next()) is not None:
                    lane = free.pop(0)
                    running[pool.submit(self._make, stage, lane, lock)] = stage, lane
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    stage, lane = running.pop(future)
                    free = sorted([*free, lane])
                    self._end(stage, future)

    def result(self) -> list[Any]:
        """The stages that were made, in DVC's order; raises what DVC does where some failed."""
        if self.interrupted:
            raise KeyboardInterrupt
        if self._failed and self._on_error != "ignore":
            first = next(iter(self._failed))
            cause = self._failed[first] if self._on_error == "fail" else None
            self._dvc._raise_error(cause, *(self._failed if cause is None else [first]))
        return [stage for stage in self._stages if stage in self._made]

    def _next(self) -> Any:
        if self.interrupted or (self._failed and self._on_error == "fail"):
            return None
        planned = set(self._stages)
        for stage in self._waiting:
            before = set(self._graph.successors(stage)) & planned
            if before <= self._ended:
                self._waiting.remove(stage)
                return stage
        return None

    def _make(self, stage: Any, lane: int, lock: _SharedLock) -> bool:
        with lock:
            made = self._dvc._reproduce_stage(
                stage,
                upstream=list(self._graph.successors(stage)),
                force=stage in self._forced,
                run_env={LANE: str(lane)},
                **self._options,
            )
        return bool(made)

    def _end(self, stage: Any, future: Future[bool]) -> None:
        self._ended.add(stage)
        try:
            made = future.result()
        except Exception as error:
            self._failed[stage] = error
            if self._on_error != "fail":
                skipped = self._dvc.handle_error(self._graph, self._on_error, error, stage)
                self._waiting = [other for other in self._waiting if other not in skipped]
            return
        if made:
            self._made.add(stage)
        if self._force_downstream and (made or stage in self._forced):
            self._forced |= set(self._graph.predecessors(stage))


class _SharedLock:
    """DVC's lock of the repository for several threads: that of the threads, then the file's."""

    def __init__(self, repo: Any):
        self._file, self._reset = repo.lock, repo._reset
        self._thread = threading.Lock()

    @property
    def is_locked(self) -> bool:
        return bool(self._file.is_locked)

    def lock(self) -> None:
        self._thread.acquire()
        self._file.lock()

    def unlock(self) -> None:
        try:
            self._reset()
        finally:
            self._give_up()

    def __enter__(self) -> None:
        self._thread.acquire()
        try:
            self._file.lock()
        except BaseException:
            self._thread.release()
            raise

    def __exit__(self, *error: object) -> None:
        self._give_up()

    def _give_up(self) -> None:
        try:
            self._file.unlock()
        finally:
            self._thread.release()


@contextmanager
def _shared(repo: Any) -> Iterator[_SharedLock]:
    """The repository's lock, given up by the caller, who has it, to threads that take turns."""
    lock = _SharedLock(repo)
    own = repo.lock
    own.unlock()
    # DVC forgets what it read of the project after it has given up its lock: another thread may be
    # reading it then, so it is forgotten before.
    repo.lock, repo._reset = lock, lambda: None
    try:
        yield lock
    finally:
        repo.lock = own
        del repo._reset
        own.lock()


@contextmanager
def _interrupts(rebuild: _Rebuild) -> Iterator[None]:
    """Ctrl-C ends the running commands, which get it too, and no further one begins."""

    def interrupt(*_: object) -> None:
        rebuild.interrupted = True

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
