"""The first minute of a newcomer, in a clean environment: ``python -m benchmarks.first_minute``.

Seconds of ``pip install .`` (the base; downloads come from pip's cache where it has them), of
``crywatch demo``, the first command, for which Python compiles what it compiles once, and of
``crywatch detect`` on its minute of sound. Nothing is there of a project.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.install import install
from benchmarks.machine import print_runs

SOUND = "crywatch-demo.flac"  # which the demo writes
HEADER = "| step | seconds | of processor |\n|---|---:|---:|"


@dataclass(frozen=True)
class Run:
    """One step."""

    step: str
    seconds: float  # of wall time
    cpu_s: float  # of processor time, of the command and what it starts


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-first-") as name:
        print_runs(
            _steps(Path(name)),
            HEADER,
            lambda run: f"| {run.step} | {run.seconds:.1f} | {run.cpu_s:.1f} |",
            options.json,
        )


def _steps(folder: Path) -> Iterator[Run]:
    before = _cpu_s()
    seconds, _, _ = install("", folder / "venv")
    yield Run("pip install . (downloads cached)", seconds, _cpu_s() - before)
    here = folder / "here"
    here.mkdir()
    command = folder / "venv" / "bin" / "crywatch"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for step, words in (
        ("crywatch demo, the first command", ("demo", "--no-open")),
        ("crywatch detect FILE, a minute of sound", ("detect", SOUND)),
        ("crywatch detect FILE --plot", ("detect", SOUND, "--plot", "a.png")),
    ):
        start, before = time.monotonic(), _cpu_s()
        subprocess.run([command, *words], cwd=here, env=env, check=True, capture_output=True)
        yield Run(step, time.monotonic() - start, _cpu_s() - before)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
