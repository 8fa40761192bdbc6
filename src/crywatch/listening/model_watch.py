"""Another model without a restart: a new champion, or other files in the model's folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from crywatch.detection.decisions import Rule
from crywatch.listening.engine import Windowed

State = tuple[tuple[str, int, int], ...]


class ModelWatch:
    """Looks every ``period_s`` whether the model is another one.

    ``find`` gives the folder of the model as it is now, ``load`` opens one, and ``use`` takes it
    over. What goes wrong is told once, and the model that is there goes on.
    """

    def __init__(
        self,
        find: Callable[[], Path],
        load: Callable[[Path], tuple[Windowed, Rule]],
        use: Callable[[Windowed, Rule], None],
        say: Callable[[str], None],
        period_s: float,
        begin: Path,
    ):
        self._find, self._load, self._use, self._say = find, load, use, say
        self._period_s, self._known = period_s, _state(begin)
        self._reason = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(5.0)

    def look(self) -> bool:
        """Whether another model was taken over."""
        try:
            folder = self._find()
            state = _state(folder)
            if state == self._known:
                return False
            model = self._load(folder)
        except Exception as error:  # of the tracking store's libraries too
            reason = str(error) or type(error).__name__
            if reason != self._reason:
                self._reason = reason
                self._say(f"the model stays as it is: {reason}")
            return False
        self._known, self._reason = state, ""
        self._use(*model)
        self._say(f"{folder} is listened with from now on")
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()


def _state(folder: Path) -> State:
    """Path, size and time of each file."""
    files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple(
        (str(path.absolute()), status.st_size, status.st_mtime_ns) for path, status in files
    )
