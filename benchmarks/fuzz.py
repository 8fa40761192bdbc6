"""Ten thousand malformed recordings: ``python -m benchmarks.fuzz [--inputs 10000] [--seed 0]``.

Those of `benchmarks.malformed`, of every container, are read one by one in a process that is
started again when it dies, hangs or takes too much memory. Nothing but an error of crywatch's own
may come of them, in time; and of recordings that are lossless and say how long they are, none may
be heard as whole that is not. Each input has its own seed, which is its number, and
``--only NUMBER`` reads that one again here, with its traceback. Damaged models, tables and
parameters are for `benchmarks.damage`.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import write_runs
from benchmarks.malformed import Malformed, malformed, wholes
from crywatch.audio.decode import BlockReader, decode_bytes
from crywatch.audio.waves.resampling import at_rate
from crywatch.core.errors import AudioError

HANG_S = 10.0
MEMORY_BYTES = 1 << 30
ADDRESSES_BYTES = 8 << 30  # of a process: what would bring down the machine
SERVER = ["-m", "benchmarks.fuzz"]
WHOLE = "heard as whole"
FINE = ("read", "refused")


@dataclass(frozen=True)
class Outcome:
    """What came of one input."""

    number: int
    recording: str  # before it was changed
    change: str
    outcome: str  # read, refused; crash, hang, memory, exception, wrong
    detail: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Read them, print the counts and what is not fine; 1 if there is any such."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="crywatch-fuzz-") as name:
        if options.serve:
            _serve(Path(name), options.seed)
            return 0
        if options.only is not None:
            print(json.dumps(_read(Path(name), options.seed, options.only, show=True), indent=1))
            return 0
        outcomes = run(options.inputs, options.seed, options.first)
    print(table(outcomes))
    if options.json:
        write_runs(options.json, outcomes)
    return int(any(outcome.outcome not in FINE for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="read this one alone, in this process")
    parser.add_argument("--json", type=Path, help="also write every outcome there")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser


def run(inputs: int, seed: int, first: int = 0) -> list[Outcome]:
    """The outcomes of inputs ``first`` to ``first + inputs``."""
    outcomes = []
    reader = _Reader(seed)
    try:
        for number in range(first, first + inputs):
            outcomes.append(reader.read(number))
            if sys.stderr.isatty():
                print(f"\r{number + 1}", end="", file=sys.stderr)
    finally:
        reader.end()
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts by change, then a line for each that is not fine."""
    names = (*FINE, "crash", "hang", "memory", "exception", "wrong")
    lines = ["".join([f"{'change':<20}", *(f"{name:>10}" for name in names)])]
    for change in [*sorted({outcome.change for outcome in outcomes}), "all"]:
        counts = Counter(o.outcome for o in outcomes if change in (o.change, "all"))
        lines.append("".join([f"{change:<20}", *(f"{counts[name]:>10}" for name in names)]))
    lines.append(f"slowest: {max((o.seconds for o in outcomes), default=0):.2f} s")
    bad = [outcome for outcome in outcomes if outcome.outcome not in FINE]
    lines += [f"{o.number}: {o.outcome} ({o.recording}, {o.change}): {o.detail}" for o in bad]
    return "\n".join(lines)


class _Reader:
    """The process that reads, as seen from here."""

    def __init__(self, seed: int):
        self._seed = seed
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, *SERVER, "--serve", "--seed", str(self._seed)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
        return process

    def read(self, number: int) -> Outcome:
        """What comes of an input; afterwards there is a process for the next one."""
        to, of = self._process.stdin, self._process.stdout
        assert to is not None and of is not None
        begun = time.perf_counter()
        to.write(f"{number}\n".encode())
        to.flush()
        ready, _, _ = select.select([of], [], [], HANG_S)
        line = of.readline() if ready else b""
        seconds = time.perf_counter() - begun
        if line.endswith(b"\n"):
            answer = json.loads(line)
            if answer["outcome"] == "memory":
                self._again()
            return Outcome(number, seconds=round(seconds, 3), **answer)
        status = self._again()
        outcome = "crash" if ready else "hang"
        detail = f"exit status {status}" if ready else f"over {HANG_S:g} s"
        sound = drawn(self._seed, number)
        return Outcome(number, sound.whole.name, sound.change, outcome, detail, round(seconds, 3))

    def _again(self) -> int:
        status = self.end()
        self._process = self._started()
        return status

    def end(self) -> int:
        """End the process; its exit status, if it had ended before."""
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status


# --- in that process ------------------------------------------------------------------------------


def _serve(folder: Path, seed: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_BYTES, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prepare(folder)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_read(folder, seed, int(line))), flush=True)


def _prepare(folder: Path) -> None:
    """Import what reads, so that its memory is not an input's."""
    for whole in wholes():
        hear(folder / whole.name, whole.content)


def drawn(seed: int, number: int) -> Malformed:
    """Input ``number``."""
    return malformed(np.random.default_rng([seed, number]))


def _read(folder: Path, seed: int, number: int, show: bool = False) -> dict[str, Any]:
    sound = drawn(seed, number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        detail = hear(folder / f"{number}-{sound.whole.name}", sound.content)
        outcome = "refused" if detail.startswith("refused") else "read"
        if sound.whole.shows_cuts and sound.change == "cut" and detail == WHOLE:
            outcome, detail = _compared(sound.whole.content, sound.content)
    except MemoryError:
        outcome, detail = "memory", "MemoryError"
    except Exception as error:
        if show:
            traceback.print_exc()
        outcome, detail = "exception", f"{type(error).__name__}: {str(error)[:160]}"
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if used > MEMORY_BYTES:
        outcome, detail = "memory", f"{used >> 20} MiB"
    found = {"outcome": outcome, "detail": detail}
    return {"recording": sound.whole.name, "change": sound.change} | found


def hear(path: Path, content: bytes) -> str:
    """Read a recording to its end as `crywatch detect` does; what is said of it."""
    path.write_bytes(content)
    try:
        reader = BlockReader(path)
        for block in at_rate(reader, 16_000):
            if not np.isfinite(block).all():
                raise AssertionError("samples that are not finite")
        notes = reader.condition.notes(0.0, "heard")
        return "; ".join(notes) or WHOLE
    except AudioError as error:
        if str(path) not in str(error):
            raise AssertionError(f"an error that names no file: {error}") from error
        return f"refused: {error}"
    finally:
        path.unlink()


def _compared(whole: bytes, cut: bytes) -> tuple[str, str]:
    """Whether what was heard as whole is the whole."""
    before, after = (decode_bytes(content, "a recording").wave for content in (whole, cut))
    if np.array_equal(before, after):
        return "read", WHOLE
    return "wrong", f"{len(after)} of {len(before)} samples are told as the whole"


if __name__ == "__main__":
    sys.exit(main())
