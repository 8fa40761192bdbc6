"""Embeddings a second, all at once and one by one: ``python -m benchmarks.embeddings --help``.

Cries are noise of the lengths that cries have, rounded as the stage `cries` rounds them, so that
some are equally long. ECAPA-TDNN of random weights: its speed does not depend on them. Batched is
one call of `Ecapa.embed` with all cries, which groups equal lengths; one by one calls it with each.
Both give the same vectors. They are timed in turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import positive, seconds_of, write_runs

if TYPE_CHECKING:
    import numpy as np

    from crywatch.speaker.ecapa import Ecapa

SEED = 1
RATE_HZ = 16_000
GRID = 320  # samples that lengths are a multiple of: the stage's frames of 20 ms
MEDIAN_S, SPREAD = 0.8, 0.3  # of the lengths, log-normal
SHORTEST_S, LONGEST_S = 0.3, 3.0
CROP_S = 2.0  # of the crops of shuffled-crop averaging, which are equally long
KINDS = ("cries", "crops")


@dataclass(frozen=True)
class Run:
    """One way of making sounds, on one number of threads."""

    kind: str  # cries of their own lengths, or crops of one length
    channels: int
    threads: int
    sounds: int
    mean_s: float  # length of a sound
    a_second: float  # embeddings, batched
    real_time: float  # seconds of sound a second, batched
    ratio: float  # how many times as fast as one by one, the median of rounds
    low_ratio: float
    high_ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

    # Only now: torch reads the variable above when it is imported.
    import torch

    from crywatch.speaker.ecapa import RANDOM, EcapaConfig, build

    print(HEADER, flush=True)
    runs = []
    before = torch.get_num_threads()
    try:
        for channels in options.channels:
            ecapa = build(EcapaConfig(RANDOM, channels, []), SEED).eval()
            for kind in KINDS:
                for threads in options.threads:
                    torch.set_num_threads(threads)
                    sounds = _sounds(kind, options.sounds)
                    runs.append(_measure(ecapa, kind, threads, sounds, options.rounds))
                    print(_line(runs[-1]), flush=True)
    finally:
        torch.set_num_threads(before)
    if options.json:
        write_runs(options.json, runs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sounds", type=positive, default=200, help="embedded in a round")
    parser.add_argument("--channels", type=positive, nargs="+", default=[256], metavar="N")
    parser.add_argument("--threads", type=positive, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _sounds(kind: str, count: int) -> list[np.ndarray]:
    import numpy as np

    rng = np.random.default_rng(SEED)
    if kind == "crops":
        seconds = np.full(count, CROP_S)
    else:
        seconds = MEDIAN_S * np.exp(SPREAD * rng.standard_normal(count))
    lengths = np.round(np.clip(seconds, SHORTEST_S, LONGEST_S) * RATE_HZ / GRID).astype(int) * GRID
    return [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]


def _measure(ecapa: Ecapa, kind: str, threads: int, sounds: list[np.ndarray], rounds: int) -> Run:
    ecapa.embed(sounds[:2])  # warms up
    batched, ratios = [], []
    for number in range(rounds):
        # In turns, and every other round backwards.
        calls = [lambda: ecapa.embed(sounds), lambda: [ecapa.embed([one]) for one in sounds]]
        spent = [seconds_of(call) for call in (calls if number % 2 else calls[::-1])]
        together, apart = spent if number % 2 else spent[::-1]
        batched.append(together)
        ratios.append(apart / together)
    seconds, length_s = statistics.median(batched), sum(map(len, sounds)) / RATE_HZ
    return Run(
        kind=kind,
        channels=ecapa.shape.channels,
        threads=threads,
        sounds=len(sounds),
        mean_s=length_s / len(sounds),
        a_second=len(sounds) / seconds,
        real_time=length_s / seconds,
        ratio=statistics.median(ratios),
        low_ratio=min(ratios),
        high_ratio=max(ratios),
    )


HEADER = (
    f"{'sounds':<8}{'channels':>9}{'threads':>9}{'mean s':>8}{'a second':>10}{'real time':>11}"
    f"{'ratio':>8}{'lowest - highest':>18}"
)


def _line(run: Run) -> str:
    spread = f"{run.low_ratio:.2f} - {run.high_ratio:.2f}"
    return (
        f"{run.kind:<8}{run.channels:>9}{run.threads:>9}{run.mean_s:>8.2f}{run.a_second:>10.1f}"
        f"{run.real_time:>11.1f}{run.ratio:>8.2f}{spread:>18}"
    )


if __name__ == "__main__":
    sys.exit(main())
