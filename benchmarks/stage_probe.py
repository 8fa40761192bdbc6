"""Runs a stage's script and appends what it took to a file of JSON lines.

``python -m benchmarks.stage_probe FILE SCRIPT ARGUMENT...``; `benchmarks.stages` puts it in the
place of the interpreter that dvc.yaml calls.
"""

from __future__ import annotations

import builtins
import json
import resource
import runpy
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

HEAVIEST = 10


@dataclass(frozen=True)
class StageCost:
    """What one run of a stage's script took."""

    stage: str
    start_s: float  # seconds since the epoch
    wall_s: float
    cpu_s: float  # with its child processes
    imports_s: float  # CPU of all imports
    mlflow_s: float  # of these, for MLflow and what only it brings
    peak_mb: float  # largest resident set of the script's process
    heaviest: dict[str, float]  # CPU seconds of the ten heaviest packages, without what they import


class ImportClock:
    """CPU seconds of imports by package, in place of `builtins.__import__`."""

    def __init__(self) -> None:
        self.own_s: defaultdict[str, float] = defaultdict(float)
        self.mlflow_s = 0.0
        self._inner_s: list[float] = []  # of the imports inside each open import
        self._in_mlflow = 0
        self._import = builtins.__import__

    def __call__(self, name, globals=None, locals=None, fromlist=(), level=0):
        package = name.partition(".")[0]
        if level or (name in sys.modules and not fromlist):
            return self._import(name, globals, locals, fromlist, level)
        outermost = package == "mlflow" and not self._in_mlflow
        self._in_mlflow += package == "mlflow"
        self._inner_s.append(0.0)
        start_s = time.thread_time()
        try:
            return self._import(name, globals, locals, fromlist, level)
        finally:
            spent_s = time.thread_time() - start_s
            self.own_s[package] += spent_s - self._inner_s.pop()
            if self._inner_s:
                self._inner_s[-1] += spent_s
            self._in_mlflow -= package == "mlflow"
            self.mlflow_s += spent_s if outermost else 0.0

    def heaviest(self) -> dict[str, float]:
        """The packages that took most, in falling order."""
        order = sorted(self.own_s, key=self.own_s.__getitem__, reverse=True)
        return {name: round(self.own_s[name], 3) for name in order[:HEAVIEST]}


def main() -> None:
    target, script, *arguments = sys.argv[1:]
    clock = ImportClock()
    start_s, start = time.time(), time.perf_counter()
    builtins.__import__ = clock
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        own, children = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        cost = StageCost(
            stage="@".join([Path(script).stem, *arguments]),
            start_s=start_s,
            wall_s=time.perf_counter() - start,
            cpu_s=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
            imports_s=sum(clock.own_s.values()),
            mlflow_s=clock.mlflow_s,
            peak_mb=own.ru_maxrss / 1024,
            heaviest=clock.heaviest(),
        )
        with open(target, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
