"""The first minute of a newcomer, in a clean environment: ``python -m benchmarks.first_minute``.

Seconds of ``pip install .`` (the base; downloads come from pip's cache where it has them), of the
first ``crywatch detect`` after it, which compiles what Python compiles once, of another one, and of
``crywatch demo``. Nothing is there of a project: a folder with one recording of a minute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.install import install
from benchmarks.machine import print_runs

HEADER = "| step | seconds |\n|---|---:|"


@dataclass(frozen=True)
class Run:
    """One step."""

    step: str
    seconds: float  # of wall time


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-first-") as name:
        print_runs(
            _steps(Path(name)),
            HEADER,
            lambda run: f"| {run.step} | {run.seconds:.1f} |",
            options.json,
        )


def _steps(folder: Path) -> Iterator[Run]:
    seconds, _, _ = install("", folder / "venv")
    yield Run("pip install . (downloads cached)", seconds)
    here = folder / "here"
    here.mkdir()
    command = folder / "venv" / "bin" / "crywatch"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def took(*words: str) -> float:
        start = time.monotonic()
        subprocess.run([command, *words], cwd=here, env=env, check=True, capture_output=True)
        return time.monotonic() - start

    demo_s = took("demo", "--no-open")
    yield Run("crywatch demo, the first command", demo_s)
    sound = "crywatch-demo.flac"
    yield Run("crywatch detect FILE, a minute of sound", took("detect", sound))
    yield Run("crywatch detect FILE --plot", took("detect", sound, "--plot", "a.png"))


if __name__ == "__main__":
    main()
