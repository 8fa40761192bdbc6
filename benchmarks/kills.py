"""Kills in a rebuild, and what they cost: ``python -m benchmarks.kills --project FOLDER ...``.

The rebuild of a project is killed with SIGKILL, with all that it started, at moments drawn over
the time that it takes undisturbed, and started again each time, until it is done. Afterwards every
output must be that of an undisturbed rebuild, byte by byte, nothing half-written may be there, no
lock may have needed a person, and MLflow must show the killed runs as killed.

The project is changed: give a clone of its own, with its own DVC cache and without outputs.
``--dvc`` starts `dvc repro` and not `crywatch repro`, which sets right what a kill left: where DVC
then cannot go on, that counts as having needed a person, and is set right to go on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.aftermath import Aftermath, Kill, StageWork, look
from benchmarks.machine import positive

PACKAGE = Path(__file__).resolve().parent.parent / "src"
POLL_S = 0.05
MENDED = "crywatch: "  # what a line of `crywatch repro` starts with
TAIL_CHARS = 2000
ATTEMPTS_WITHOUT_PROGRESS = 3


@dataclass
class Disturbed:
    """A rebuild with its kills."""

    kills: list[Kill] = field(default_factory=list)
    attempts: int = 0
    seconds: float = 0.0  # that attempts ran, together
    mended: list[str] = field(default_factory=list)  # what `crywatch repro` set right
    needed_person: list[str] = field(default_factory=list)  # what DVC stopped at
    done: bool = False
    why: str = ""  # it is not


class Rebuild:
    """Starts, kills and starts again."""

    def __init__(self, options: argparse.Namespace, log: Path):
        self.project = options.project.resolve()
        self.module = "dvc" if options.dvc else "crywatch.cli"
        self.log = log
        self.result = Disturbed()
        draw = random.Random(options.seed)
        self.moments_s = sorted(
            draw.uniform(0.0, options.expected_seconds) for _ in range(options.kills)
        )
        self._process: subprocess.Popen | None = None

    def run(self) -> Disturbed:
        """Until it is done, cannot go on, or is interrupted."""
        try:
            failures = 0
            while not self.result.done and failures < ATTEMPTS_WITHOUT_PROGRESS:
                failures = 0 if self._attempt() else failures + 1
        except KeyboardInterrupt:
            self.result.why = "interrupted"
        finally:
            self._kill()
        return self.result

    def deliver(self) -> None:
        """What killed stages said of themselves, and the store has not got."""
        with open(self.log, "ab") as sink:
            subprocess.run(
                [sys.executable, "-m", "crywatch.cli", "deliver"],
                cwd=self.project,
                env=environment(self.project),
                stdout=sink,
                stderr=subprocess.STDOUT,
                check=False,
            )

    def _attempt(self) -> bool:
        """One start; False if it ended in an error by itself."""
        result = self.result
        result.attempts += 1
        left = len(self.moments_s) - len(result.kills)
        self._say(f"attempt {result.attempts}, {result.seconds:.0f} s so far, {left} kills to come")
        start_of_output = self.log.stat().st_size
        began = time.monotonic()
        before_s = result.seconds
        with open(self.log, "ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, "repro"],
                cwd=self.project,
                env=environment(self.project),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        moment_s = self.moments_s[len(result.kills)] if left else None
        killed = False
        while self._process.poll() is None:
            result.seconds = before_s + time.monotonic() - began
            if moment_s is not None and result.seconds >= moment_s:
                self._kill()
                killed = True
                break
            time.sleep(POLL_S)
        result.seconds = before_s + time.monotonic() - began
        output = self.log.read_bytes()[start_of_output:].decode(errors="replace")
        result.mended += [
            line.removeprefix(MENDED) for line in output.splitlines() if line.startswith(MENDED)
        ]
        if killed:
            running = [
                line for line in output.splitlines() if line.startswith(("Running", "Stage"))
            ]
            last = running[-1] if running else "starting"
            result.kills.append(Kill(result.seconds, time.time(), last))
            self._say(f"killed at {result.seconds:.0f} s: {last}")
        elif self._process.returncode == 0:
            result.done = True
        else:
            self._note_failure(output)
            return False
        return True

    def _note_failure(self, output: str) -> None:
        from crywatch.operations import recover

        result = self.result
        result.why = output[-TAIL_CHARS:]
        self._say(f"ended with {self._process.returncode}: {output.strip()[-200:]}")
        if mended := recover.mend(self.project):
            result.needed_person += mended
            self._say("; ".join(mended))

    def _kill(self) -> None:
        """End all that an attempt started; a session of its own holds nothing else."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _say(self, line: str) -> None:
        line = f"[kills {time.strftime('%H:%M:%S')}] {line}"
        print(line, flush=True)
        with open(self.log, "a", encoding="utf-8") as sink:
            sink.write(line + "\n")


def environment(project: Path) -> dict[str, str]:
    """The project's own sources if it has them, and this interpreter as `python`."""
    own = project / "src"
    return dict(os.environ) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(own if (own / "crywatch").is_dir() else PACKAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild with kills, look at what is there, print it; 1 if something is not as it must be."""
    options = _parser().parse_args(arguments)
    sys.path.insert(0, environment(options.project.resolve())["PYTHONPATH"])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = options.log or options.project / "kills.log"
    log.touch()
    rebuild = Rebuild(options, log)
    disturbed = rebuild.run()
    rebuild.deliver()
    after = look(options.project.resolve(), options.reference, options.may_differ, disturbed.kills)
    overhead_s = disturbed.seconds - options.expected_seconds
    failed = not disturbed.done or bool(disturbed.needed_person) or after.problems
    if options.json:
        report = {"seed": options.seed, "expected_s": options.expected_seconds}
        report |= {"ok": not failed, "overhead_s": overhead_s, "rebuild": asdict(disturbed)}
        options.json.write_text(json.dumps(report | {"after": asdict(after)}, indent=2) + "\n")
    print(render(disturbed, after, options))
    return 1 if failed else 0


def render(disturbed: Disturbed, after: Aftermath, options: argparse.Namespace) -> str:
    """A table for people."""
    expected_s = options.expected_seconds
    state = "done" if disturbed.done else f"NOT DONE: {disturbed.why}"
    rows = [
        ("rebuild", f"{state}; {len(disturbed.kills)} of {options.kills} kills"),
        ("ran", f"{disturbed.seconds:.0f} s in {disturbed.attempts} attempts"),
        ("undisturbed", f"{expected_s:.0f} s: {disturbed.seconds / expected_s - 1:+.1%}"),
        ("stage time cut off", f"{after.cut_s:.0f} s in {after.killed} killed runs"),
        ("stage time redone", f"{after.redone_s:.0f} s of stages that had ended"),
        ("stages run again", _some(after.again)),
        ("outputs", f"{after.equal} equal the reference's; others: {_some(after.different)}"),
        ("left out of that", ", ".join(options.may_differ) or "nothing"),
        ("wrong bytes", _some(after.wrong)),
        ("half files", _some(after.half)),
        ("set right after kills", _some(disturbed.mended)),
        ("needed a person", _some(disturbed.needed_person)),
        ("records not delivered", _some(after.undelivered)),
        ("runs left RUNNING", _some(after.running)),
        ("runs neither finished nor killed", _some(after.failed)),
    ]
    return "\n".join(f"{name:<34}{value}" for name, value in rows)


def _some(names: Sequence[str] | Sequence[StageWork]) -> str:
    if not names:
        return "none"
    lines = [name.text if isinstance(name, StageWork) else name for name in names]
    return f"{len(lines)}\n" + "\n".join(f"    {line}" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True, help="a clone; it is rebuilt")
    parser.add_argument("--reference", type=Path, required=True, help="an undisturbed dvc.lock")
    parser.add_argument("--expected-seconds", type=float, required=True, help="undisturbed")
    parser.add_argument("--kills", type=positive, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dvc", action="store_true", help="dvc repro, not crywatch repro")
    parser.add_argument(
        "--may-differ", nargs="*", default=["report"], help="stages whose output names its run"
    )
    parser.add_argument("--log", type=Path, help="of all attempts; by default in the project")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
