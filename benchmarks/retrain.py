"""Seconds of `crywatch retrain` with nothing to do: ``python -m benchmarks.retrain PROJECT``.

PROJECT is a folder in which a retraining has come to its end; each round leaves a record there.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import positive, seconds_of, write_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = [sys.executable, "-m", "crywatch.cli", "retrain"]
IDLE = "nothing: no new commit"  # what the command says then


@dataclass(frozen=True)
class Idle:
    """Wall time of the whole command, the interpreter's start included."""

    rounds: int
    files: int  # of the corpora that are looked at
    median_s: float
    low_s: float  # of the rounds
    high_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if there is something to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--rounds", type=positive, default=11)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    if not _output(options.project, "--dry-run").startswith(IDLE):
        print(f"{options.project}: there is something to do; run it first", file=sys.stderr)
        return 1
    _output(options.project)  # warms up
    taken = [seconds_of(lambda: _output(options.project)) for _ in range(options.rounds)]
    idle = Idle(
        options.rounds, _files(options.project), statistics.median(taken), min(taken), max(taken)
    )
    print(
        f"crywatch retrain with nothing to do: {idle.median_s:.2f} s "
        f"({idle.low_s:.2f} to {idle.high_s:.2f}, {idle.rounds} rounds, {idle.files} files)"
    )
    if options.json:
        write_runs(options.json, [idle])
    return 0


def _output(project: Path, *words: str) -> str:
    ended = subprocess.run(
        [*COMMAND, *words], cwd=project, capture_output=True, text=True, check=False
    )
    return ended.stdout


def _files(project: Path) -> int:
    from crywatch.core import params
    from crywatch.operations.retrain import RetrainConfig
    from crywatch.operations.retrain.record import RunFolder

    config = params.section("retrain", RetrainConfig, project / params.PARAMS_FILE)
    state = RunFolder(project / config.folder).state()
    return 0 if state is None else sum(len(source.files) for source in state.corpora.values())


if __name__ == "__main__":
    sys.exit(main())
