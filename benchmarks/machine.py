"""What the benchmarks share: the machine they ran on, their arguments, the numbers as a file."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Run = TypeVar("Run", bound="DataclassInstance")

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    python: str
    torch: str


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def seconds_of(call: Callable[[], object]) -> float:
    """What ``call`` takes, of wall time."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> Machine:
    """This one."""
    import torch

    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write_runs(path: Path, runs: Sequence[DataclassInstance]) -> None:
    """This machine and ``runs`` as JSON."""
    from crywatch.core.atomic import write_json

    write_json(path, {"machine": asdict(machine()), "runs": [asdict(run) for run in runs]})


def print_runs(
    runs: Iterable[Run], header: str, line: Callable[[Run], str], json: Path | None
) -> None:
    """Print ``header`` and each of ``runs`` as it comes; write them to ``json`` if it is named."""
    print(header, flush=True)
    measured = []
    for run in runs:
        measured.append(run)
        print(line(run), flush=True)
    if json:
        write_runs(json, measured)
