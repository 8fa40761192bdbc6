"""Infants fitted a second, all at once and one by one: ``python -m benchmarks.infants --help``.

Infants are generated embeddings of 8 to 38 clips, as many as the slides' infants have recordings.
One by one calls the same model with a single infant at a time, on at most ``--alone`` of them, in
turns with the batched call on the same ones, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ONE_THREAD, positive, print_runs, seconds_of

if TYPE_CHECKING:
    from crywatch.infants.models.contract import Baseline, InfantModel
    from crywatch.infants.models.registry import ModelsConfig

SEED = 1
DIM = 192
CLIPS = (8, 39)  # of an infant, the last excluded
SESSION_CLIPS = 3
SPREAD = 1.4  # of clips, against a direction of 1 in each number
COHORT = 50  # infants, for S-norm
MANY = 1_000  # infants, above which models that are fitted one by one are not timed


@dataclass(frozen=True)
class Run:
    """One model on one number of infants."""

    model: str
    infants: int
    seconds: float  # one batched call
    a_second: float  # infants fitted a second, batched
    alone: int  # infants of the comparison
    ratio: float  # how many times as fast the batched call was on those, the median of rounds
    low_ratio: float
    high_ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")

    # Only now: the libraries read the variables above when they are imported.
    from crywatch.infants.models.registry import NORMALISED, build

    options = _parser().parse_args(arguments)
    cohort = _infants(COHORT, "cohort")

    def runs() -> Iterator[Run]:
        for name in options.models:
            model = build(name, _settings(), SEED, cohort)
            model.fit(_infants(2, "warm"))
            for count in options.infants:
                if count <= MANY or name in NORMALISED:
                    yield _measure(model, name, count, options.alone, options.rounds)

    print_runs(runs(), HEADER, _line, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    from crywatch.infants.models.registry import MODELS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--infants", type=positive, nargs="+", default=[10, 100, 1_000, 10_000], metavar="N"
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument("--alone", type=positive, default=100, help="infants fitted one by one")
    parser.add_argument("--rounds", type=positive, default=3, help="of that comparison")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _settings() -> ModelsConfig:
    """As in the slides where they say, with S-norm for the two that it is for."""
    from crywatch.infants.models.autoencoder import AutoencoderConfig
    from crywatch.infants.models.cohort import CohortConfig
    from crywatch.infants.models.mahalanobis import MahalanobisConfig
    from crywatch.infants.models.mixture import MixtureConfig
    from crywatch.infants.models.mixture_iclas import MixtureIclasConfig
    from crywatch.infants.models.one_class_svm import OneClassSvmConfig
    from crywatch.infants.models.registry import ModelsConfig

    return ModelsConfig(
        autoencoder=AutoencoderConfig(
            widths=[DIM, 128, 64, 32],
            lr=1e-3,
            steps=300,
            check_every=10,
            patience=5,
            held_out=0.25,
            batch_infants=32,
        ),
        one_class_svm=OneClassSvmConfig(nu=0.1, jobs=1),
        one_class_svm_nu005=OneClassSvmConfig(nu=0.05, jobs=1),
        mixture=MixtureConfig(
            components=5,
            clips_per_component=4,
            held_out=0.25,
            pca_below=DIM,
            pca_axes=16,
            clips_per_axis=3,
            least_variance=1e-5,
            jobs=1,
        ),
        mixture_iclas=MixtureIclasConfig([2, 3, 4, 5], "full", 0.25, 1e-6),
        mahalanobis=MahalanobisConfig(least_variance=1e-6),
        cohort=CohortConfig(top_k=20, infants=COHORT, clips=10),
    )


def _infants(count: int, prefix: str) -> list[Baseline]:
    import numpy as np

    from crywatch.infants.models.contract import Baseline

    out = []
    for number in range(count):
        rng = np.random.default_rng([SEED, len(prefix), number])
        n = int(rng.integers(*CLIPS))
        vectors = rng.standard_normal(DIM) + SPREAD * rng.standard_normal((n, DIM))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        sessions = np.arange(n) // SESSION_CLIPS
        out.append(Baseline(f"{prefix}{number}", vectors.astype(np.float32), sessions))
    return out


def _measure(model: InfantModel, name: str, count: int, alone: int, rounds: int) -> Run:
    babies = _infants(count, "infant")
    seconds = seconds_of(lambda: model.fit(babies))
    few = babies[:alone]
    ratios = []
    for number in range(rounds):
        # In turns, and every other round backwards.
        calls = [lambda: model.fit(few), lambda: [model.fit([baby]) for baby in few]]
        spent = [seconds_of(call) for call in (calls if number % 2 else calls[::-1])]
        together, apart = spent if number % 2 else spent[::-1]
        ratios.append(apart / together)
    return Run(
        model=name,
        infants=count,
        seconds=seconds,
        a_second=count / seconds,
        alone=len(few),
        ratio=statistics.median(ratios),
        low_ratio=min(ratios),
        high_ratio=max(ratios),
    )


HEADER = (
    f"{'model':<16}{'infants':>9}{'seconds':>10}{'a second':>10}{'ratio':>8}"
    f"{'lowest - highest':>18}"
)


def _line(run: Run) -> str:
    spread = f"{run.low_ratio:.2f} - {run.high_ratio:.2f}"
    return (
        f"{run.model:<16}{run.infants:>9}{run.seconds:>10.2f}{run.a_second:>10.0f}"
        f"{run.ratio:>8.2f}{spread:>18}"
    )


if __name__ == "__main__":
    sys.exit(main())
