"""Work of a sink that takes its time, off the threads that listen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

WAITING = 1000  # tasks; more are dropped


class Background:
    """Runs tasks one after the other in a thread of its own; `do` returns at once.

    A task that fails, or for which there is no room, is told by ``say`` in one line: once for each
    reason until a task succeeds again. The tasks after it are run all the same.
    """

    def __init__(self, name: str, say: Callable[[str], None], waiting: int = WAITING):
        self._name, self._say = name, say
        self._tasks: queue.Queue[tuple[Callable[..., object], tuple[Any, ...]] | None]
        self._tasks = queue.Queue(waiting)
        self._reason = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, task: Callable[..., object], *arguments: Any) -> None:
        """Run ``task(*arguments)`` after those before it."""
        try:
            self._tasks.put_nowait((task, arguments))
        except queue.Full:
            self._tell("too slow: what comes is left out")

    def wait(self) -> None:
        """Until all tasks so far are done."""
        self._tasks.join()

    def close(self, wait_s: float = 10.0) -> None:
        """Finish what waits, for ``wait_s`` at most."""
        try:
            self._tasks.put(None, timeout=wait_s)
        except queue.Full:
            return
        self._thread.join(wait_s)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task[0](*task[1])
                self._reason = ""
            except Exception as error:  # of whatever kind: listening goes on
                self._tell(str(error) or type(error).__name__)
            finally:
                self._tasks.task_done()
        self._tasks.task_done()

    def _tell(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._say(f"{self._name}: {reason}")
