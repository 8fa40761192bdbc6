"""Seconds of sound a second, as ratios within one run: ``python -m benchmarks.speed --help``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ONE_THREAD, Machine, machine, positive
from benchmarks.rounds import Result, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISONS = (
    "clean",
    "inference",
    "detector",
    "train",
    "pictures",
)  # methods of comparisons.Bench


@dataclass(frozen=True)
class Target:
    """A ratio that the project wants."""

    name: str
    wanted: float
    measured: float
    reached: bool


@dataclass(frozen=True)
class Report:
    """All of one run."""

    machine: Machine
    seconds: int  # of sound for each thing
    comparisons: tuple[Result, ...]
    peaks_mb: dict[str, float]  # resident, by the length of the recording in seconds
    targets: tuple[Target, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    # Only now: the libraries read the variables above when they are imported.
    import torch

    from benchmarks import comparisons

    torch.set_num_threads(1)
    sounds = comparisons.Options(
        options.seconds, options.recording_seconds, options.yamnet, options.vggish
    )
    with tempfile.TemporaryDirectory(prefix="crywatch-speed-") as folder:
        bench = comparisons.Bench(sounds, Path(folder))
        results = []
        for name in options.only:
            result = measure(getattr(bench, name)(), options.rounds)
            print(_table(result), flush=True)
            results.append(result)
        peaks_mb = {
            str(length_s): comparisons.peak_mb(Path(folder), length_s)
            for length_s in options.memory
        }
    for length_s, peak in peaks_mb.items():
        print(f"default detector, {length_s} s: {peak:.0f} MB at its peak")
    report = Report(machine(), options.seconds, tuple(results), peaks_mb, _targets(results))
    if report.targets:
        print(_target_table(report.targets))
    if options.json:
        from crywatch.core.atomic import write_json

        write_json(options.json, asdict(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yamnet", type=Path, help="YAMNet's quantised .tflite file")
    parser.add_argument("--vggish", default="", help="VGGish: a TF-Hub handle or a folder")
    parser.add_argument("--seconds", type=positive, default=512, help="of sound for each thing")
    parser.add_argument(
        "--recording-seconds", type=positive, default=3600, help="for comparison detector"
    )
    parser.add_argument(
        "--memory",
        type=positive,
        nargs="*",
        default=(),
        metavar="SECONDS",
        help="recordings whose peak of memory is measured too, such as 600 3600",
    )
    parser.add_argument("--rounds", type=positive, default=11, help="medians are over these")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=COMPARISONS,
        default=COMPARISONS,
        metavar="NAME",
        help=f"comparisons: {', '.join(COMPARISONS)}",
    )
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _targets(results: Sequence[Result]) -> tuple[Target, ...]:
    """Those of the project's targets that ``results`` can tell."""
    from benchmarks import comparisons

    by_name = {result.name: result for result in results}
    values = []
    if "clean" in by_name:
        timing = by_name["clean"].timing(comparisons.ALL_CODECS)
        values.append(("cleaning, two cores, times real time", 200.0, timing.times_real_time))
    ratios = (
        ("inference", comparisons.WHOLE_256, comparisons.YAMNET, 1.0),
        # YAMNet is given samples.
        ("detector", comparisons.DECODED, comparisons.YAMNET, 1.5),
        ("train", comparisons.OUR_STEP, comparisons.PLAIN_STEP, 2.0),
        ("pictures", comparisons.ONCE, comparisons.EACH, 1.0),
    )
    for comparison, case, reference, wanted in ratios:
        result = by_name.get(comparison)
        if result is not None and result.reference == reference:
            values.append((f"{case} / {reference}", wanted, result.timing(case).ratio))
    return tuple(Target(name, wanted, got, got >= wanted) for name, wanted, got in values)


def _table(result: Result) -> str:
    cores = "one core" if result.threads == 1 else f"{result.threads} processes"
    lines = [
        f"{result.name} ({cores}, {result.rounds} rounds; ratio to: {result.reference})",
        f"  {'':<30}{'ms a second':>12}{'quartiles':>18}{'s a second':>12}"
        f"{'ratio':>8}{'quartiles':>16}",
    ]
    for timing in result.timings:
        line = f"  {timing.name:<30}{timing.ms:>12.3f}"
        line += f"{f'{timing.low_ms:.3f} - {timing.high_ms:.3f}':>18}"
        line += f"{timing.times_real_time:>12.0f}"
        if timing.ratio is not None:
            line += f"{timing.ratio:>8.2f}"
            line += f"{f'{timing.low_ratio:.2f} - {timing.high_ratio:.2f}':>16}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _target_table(targets: Sequence[Target]) -> str:
    lines = ["targets"]
    for target in targets:
        verdict = "reached" if target.reached else "missed"
        lines.append(
            f"  {target.name:<58}{target.measured:>8.2f}  wanted {target.wanted:g}: {verdict}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
