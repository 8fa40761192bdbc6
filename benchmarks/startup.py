"""What each stage takes before its work begins: ``python -m benchmarks.startup``.

Each script is run, in a folder with nothing but params.yaml and dvc.lock, up to the moment at which
its run is open: its imports, parameters and the first records of its journal are done, and its work
would begin. CPU seconds are of that process, the interpreter's start included; imports are told by
package, without what they import themselves. What a stage imports in its work is in
`benchmarks.stages`, which runs it.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.machine import ONE_THREAD, write_runs
from benchmarks.stage_probe import ImportClock

ROOT = Path(__file__).resolve().parent.parent
TARGET_S = 2.0
ROUNDS = 3  # the least of them: what is not on disk yet, or another process, adds


@dataclass(frozen=True)
class Startup:
    """One stage's script until its work begins."""

    stage: str
    cpu_s: float
    imports_s: float  # of these
    heaviest: dict[str, float]  # CPU seconds of ten packages


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the stages, print a table, write it as JSON; 1 if one takes longer than it may."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-startup-") as name:
        folder = Path(name)
        for file in ("params.yaml", "dvc.lock"):
            (folder / file).write_bytes((ROOT / file).read_bytes())
        rows = [
            min((_measure(folder, words) for _ in range(options.rounds)), key=lambda row: row.cpu_s)
            for words in _scripts(ROOT)
            if not options.only or Path(words[0]).stem in options.only
        ]
    print(table(rows))
    if options.json:
        write_runs(options.json, rows)
    return int(any(row.cpu_s > TARGET_S for row in rows))


def table(rows: Sequence[Startup]) -> str:
    """Markdown: a line a stage, the slowest first."""
    lines = ["| stage | CPU s | imports s | ten heaviest packages |", "|---|---:|---:|---|"]
    for row in sorted(rows, key=lambda row: -row.cpu_s):
        heaviest = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row.heaviest.items())
        lines.append(f"| {row.stage} | {row.cpu_s:.2f} | {row.imports_s:.2f} | {heaviest} |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", help="stages, all of them by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _scripts(root: Path) -> Iterator[list[str]]:
    """Script and argument of every stage, for the first that it is run for."""
    from crywatch.core import params

    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, body in stages.items():
        words = body.get("do", body)["cmd"].split()
        first: list[str] = []
        if "foreach" in body:
            items = params.plain(body["foreach"].strip("${} "), root / params.PARAMS_FILE)
            first = [next(iter(items))]
        yield [str(root / "pipelines" / f"{name}.py"), *(first if len(words) > 2 else [])]


def _measure(folder: Path, words: list[str]) -> Startup:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup", "--probe", *words],
        cwd=folder,
        env=os.environ
        | dict.fromkeys(ONE_THREAD, "1")
        | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr[-2000:]}")
    return Startup(**json.loads(done.stdout.splitlines()[-1]))


def _probe(script: str, *arguments: str) -> None:
    clock = ImportClock()
    builtins.__import__ = clock
    from crywatch import tracking
    from crywatch.tracking import launch

    launch.ensure = lambda target, linger_s: None
    begin = tracking.stage_run

    @contextlib.contextmanager
    def begun(*stage: str) -> Iterator[tracking.StageRun]:
        with begin(*stage):
            print(
                json.dumps(
                    {
                        "stage": "@".join([Path(script).stem, *arguments]),
                        "cpu_s": round(time.process_time(), 3),
                        "imports_s": round(sum(clock.own_s.values()), 3),
                        "heaviest": clock.heaviest(),
                    }
                ),
                flush=True,
            )
            os._exit(0)
        yield  # never comes to it

    tracking.stage_run = begun
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    raise SystemExit(f"{script} has begun no run")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        _probe(*sys.argv[2:])
    else:
        sys.exit(main())
