"""Ten thousand malformed inputs: ``python -m benchmarks.fuzz [--inputs 10000] [--seed 0]``.

Recordings of every container (`benchmarks.malformed`), tables, model folders and parameters are
read one by one in a process that is started again when it dies, hangs or takes too much memory.
Nothing but an error of crywatch's own may come of them, in time; and of recordings that are
lossless and say how long they are, none may be heard as whole that is not. Each input has its own
seed, which is its number, and ``--only NUMBER`` reads that one again here, with its traceback.
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
from benchmarks.malformed import malformed, wholes

HANG_S = 10.0
MEMORY_BYTES = 1 << 30
ADDRESSES_BYTES = 8 << 30  # of a process: what would bring down the machine
SOUNDS = 0.8  # of the inputs; the others are tables, models and parameters
FINE = ("read", "refused")


@dataclass(frozen=True)
class Outcome:
    """What came of one input."""

    number: int
    kind: str  # of input
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
    """Counts by kind of input, then a line for each that is not fine."""
    kinds = ("sound", "table", "model", "parameters")
    counted = {kind: Counter(o.outcome for o in outcomes if o.kind == kind) for kind in kinds}
    names = (*FINE, "crash", "hang", "memory", "exception", "wrong")
    lines = ["".join([f"{'input':<12}", *(f"{name:>11}" for name in names)])]
    for kind, counts in counted.items():
        lines.append("".join([f"{kind:<12}", *(f"{counts[name]:>11}" for name in names)]))
    lines.append(f"slowest: {max((o.seconds for o in outcomes), default=0):.2f} s")
    bad = [outcome for outcome in outcomes if outcome.outcome not in FINE]
    lines += [f"{o.number}: {o.outcome} ({o.kind}, {o.change}): {o.detail}" for o in bad]
    return "\n".join(lines)


class _Reader:
    """The process that reads, as seen from here."""

    def __init__(self, seed: int):
        self._seed = seed
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--serve", "--seed", str(self._seed)]
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
        outcome = "crash" if ready else "hang"
        detail = f"exit status {self._again()}" if ready else f"over {HANG_S:g} s"
        if not ready:
            self._again()
        known = _described(self._seed, number)
        return Outcome(number, *known, outcome, detail, round(seconds, 3))

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
    from benchmarks.malformed_files import prepare

    prepare(folder)
    wholes()
    hear(folder / "none.wav", b"")


def _drawn(seed: int, number: int) -> tuple[np.random.Generator, bool]:
    rng = np.random.default_rng([seed, number])
    return rng, rng.random() < SOUNDS


def _described(seed: int, number: int) -> tuple[str, str]:
    rng, is_sound = _drawn(seed, number)
    if is_sound:
        sound = malformed(rng)
        return "sound", f"{sound.whole.name} {sound.change}"
    from benchmarks.malformed_files import described

    return described(rng)


def _read(folder: Path, seed: int, number: int, show: bool = False) -> dict[str, Any]:
    from crywatch.core.errors import CrywatchError

    rng, is_sound = _drawn(seed, number)
    kind, change = _described(seed, number)
    outcome, detail = "read", ""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        if is_sound:
            sound = malformed(rng)
            path = folder / f"{number}-{sound.whole.name}"
            detail = hear(path, sound.content)
            outcome = "refused" if detail.startswith("refused") else "read"
            if sound.whole.shows_cuts and sound.change == "cut" and detail == "as whole":
                outcome, detail = _compared(folder, sound.whole.content, sound.content)
        else:
            from benchmarks.malformed_files import read

            read(rng, folder)
    except CrywatchError as error:
        outcome, detail = "refused", str(error)[:200]
        if str(folder) not in detail and not is_sound and kind != "parameters":
            outcome, detail = "exception", f"an error that names no file: {detail}"
    except MemoryError:
        outcome, detail = "memory", "MemoryError"
    except Exception as error:
        if show:
            traceback.print_exc()
        outcome, detail = "exception", f"{type(error).__name__}: {str(error)[:160]}"
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if used > MEMORY_BYTES:
        outcome, detail = "memory", f"{used >> 20} MiB"
    return {"kind": kind, "change": change, "outcome": outcome, "detail": detail}


def hear(path: Path, content: bytes) -> str:
    """Read a recording to its end as `crywatch detect` does; what is said of it."""
    from crywatch.audio.decode import BlockReader
    from crywatch.audio.waves.resampling import at_rate
    from crywatch.core.errors import AudioError

    path.write_bytes(content)
    try:
        reader = BlockReader(path)
        for block in at_rate(reader, 16_000):
            if not np.isfinite(block).all():
                raise AssertionError("samples that are not finite")
        notes = reader.condition.notes(0.0, "heard")
        return "; ".join(notes) or "as whole"
    except AudioError as error:
        if str(path) not in str(error):
            raise AssertionError(f"an error that names no file: {error}") from error
        return f"refused: {error}"
    finally:
        path.unlink()


def _compared(folder: Path, whole: bytes, cut: bytes) -> tuple[str, str]:
    """Whether what was heard as whole is the whole."""
    from crywatch.audio.decode import decode_bytes

    before, after = (decode_bytes(content, str(folder)).wave for content in (whole, cut))
    if np.array_equal(before, after):
        return "read", "the whole"
    return "wrong", f"{len(after)} of {len(before)} samples are told as the whole"


if __name__ == "__main__":
    sys.exit(main())
