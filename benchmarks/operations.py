"""Time of a rebuild with nothing to do: ``python -m benchmarks.operations --project FOLDER``.

In a project whose data is made already, `crywatch repro`, `dvc repro` and `dvc status` are timed in
turns, beside the start of Python and the import of DVC, which each of them begins with.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills import environment
from benchmarks.machine import positive, write_runs

COMMANDS = {
    "python": ("-c", "pass"),
    "import dvc": ("-c", "import dvc.repo, dvc.cli"),
    "dvc status": ("-m", "dvc", "status"),
    "dvc repro": ("-m", "dvc", "repro"),
    "crywatch repro": ("-m", "crywatch.cli", "repro"),
}
NOTHING_TO_DO = "up to date"


@dataclass(frozen=True)
class Run:
    """One command."""

    name: str
    rounds: int
    seconds: float  # of wall time, the median
    low_s: float
    high_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Time what the command line names and print it."""
    options = _parser().parse_args(arguments)
    project = options.project.resolve()
    spent_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(options.rounds + 1):
        for name, words in COMMANDS.items():
            seconds = _time_s(project, name, words)
            if number:  # the first round warms up
                spent_s[name].append(seconds)
    runs = [
        Run(name, options.rounds, statistics.median(spent), min(spent), max(spent))
        for name, spent in spent_s.items()
    ]
    print(f"{'command':<16}{'median s':>10}{'least s':>10}{'most s':>10}")
    for run in runs:
        print(f"{run.name:<16}{run.seconds:>10.2f}{run.low_s:>10.2f}{run.high_s:>10.2f}")
    if options.json:
        write_runs(options.json, runs)
    return 0


def _time_s(project: Path, name: str, words: Sequence[str]) -> float:
    start = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if ended.returncode or ("dvc" in words and NOTHING_TO_DO not in ended.stdout):
        raise SystemExit(f"{project}: `{name}` found something to do: {ended.stdout}{ended.stderr}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True, help="rebuilt already")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
