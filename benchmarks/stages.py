"""What each stage of a rebuild takes: ``python -m benchmarks.stages --project FOLDER``.

`dvc repro --force` runs in a project whose stages call `python`, which is a probe here. For each
stage: wall and CPU seconds, CPU seconds of its imports and of MLflow among them, DVC's own seconds
before its script begins (for the first with the start of DVC), and the largest resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills import environment
from benchmarks.machine import write_runs
from benchmarks.stage_probe import StageCost

ROOT = Path(__file__).resolve().parent.parent
SHIM = """#!/bin/sh
case "$1" in
*.py) PYTHONPATH="$PYTHONPATH:{root}" exec "{python}" -m benchmarks.stage_probe "{target}" "$@" ;;
*) exec "{python}" "$@" ;;
esac
"""
COLUMNS = ("wall_s", "cpu_s", "imports_s", "mlflow_s", "dvc_s", "peak_mb")


@dataclass(frozen=True)
class StageRow(StageCost):
    """A stage's cost, and DVC's before it."""

    dvc_s: float  # wall time from the end of the stage before to the start of this script


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild, print the table, write it as JSON."""
    options = _parser().parse_args(arguments)
    start_s = time.time()
    costs = measure(options.project.resolve())
    whole_s = time.time() - start_s
    rows = with_dvc(costs, start_s)
    print(table(rows))
    print(f"\n{len(rows)} stages, {whole_s:.0f} s in all, {_share(rows, whole_s)}")
    if options.json:
        write_runs(options.json, rows)
    return 0


def measure(project: Path) -> list[StageCost]:
    """Run all stages of ``project`` anew; their costs in the order in which they ran.

    Raises:
        SystemExit: `dvc repro` failed; the message has its output's end.
    """
    with tempfile.TemporaryDirectory() as folder:
        target, shim = Path(folder, "costs.jsonl"), Path(folder, "python")
        shim.write_text(SHIM.format(root=ROOT, python=sys.executable, target=target))
        shim.chmod(0o755)
        programs = environment(project)["PATH"]
        rebuild(project, {"PATH": f"{folder}{os.pathsep}{programs}"})
        return [StageCost(**json.loads(line)) for line in target.read_text().splitlines()]


def rebuild(project: Path, variables: Mapping[str, str], stages: Sequence[str] = ()) -> str:
    """Run ``stages``, or all, anew with ``variables`` in the environment; what DVC printed.

    Raises:
        SystemExit: `dvc repro` failed; the message has its output's end.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache", *stages],
        cwd=project,
        env=environment(project) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(f"{project}: dvc repro failed: {ended.stdout[-4000:]}")
    return ended.stdout


def with_dvc(costs: Sequence[StageCost], start_s: float) -> list[StageRow]:
    """``costs`` of a rebuild that began at ``start_s`` (seconds since the epoch), with DVC's."""
    rows, ended_s = [], start_s
    for cost in costs:
        rows.append(StageRow(**vars(cost), dvc_s=cost.start_s - ended_s))
        ended_s = cost.start_s + cost.wall_s
    return rows


def table(rows: Sequence[StageRow]) -> str:
    """As Markdown, a line a stage and their sums."""
    lines = [
        f"| stage | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} | heaviest imports |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for row in rows:
        cells = [f"{getattr(row, name):.1f}" for name in COLUMNS]
        heaviest = ", ".join(f"{name} {s:.2f}" for name, s in list(row.heaviest.items())[:3])
        lines.append(f"| {row.stage} | {' | '.join(cells)} | {heaviest} |")
    sums = [sum(getattr(row, name) for row in rows) for name in COLUMNS[:-1]]
    peak = max((row.peak_mb for row in rows), default=0.0)
    cells = [f"{value:.0f}" for value in (*sums, peak)]
    return "\n".join([*lines, f"| all | {' | '.join(cells)} | |"])


def _share(rows: Sequence[StageRow], whole_s: float) -> str:
    parts = {"imports": "imports_s", "DVC": "dvc_s"}
    sums = {name: sum(getattr(row, field) for row in rows) for name, field in parts.items()}
    return ", ".join(f"{name} {value / whole_s:.0%}" for name, value in sums.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True, help="a clone; it is rebuilt")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
