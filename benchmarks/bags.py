"""How bags are filled and trained, over seeds: ``python -m benchmarks.bags --help``.

In a project that has made `mixtures` and `embed`, the miner is trained on one data set in each way
and with each seed, and asked for every second of the test part: how much of what it mines of crying
recordings cries, and the AUC of the seconds. Both need the truth, so the data set is `untrimmed`.
Intervals are of Student's t over the seeds: they tell how far a training is chance, not how far the
recordings are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import positive, write_runs

if TYPE_CHECKING:
    import numpy as np

    from crywatch.detection.anomaly.network import RtfmNetwork
    from crywatch.detection.anomaly.training import BagTrainingConfig

DATASET = "untrimmed"


@dataclass(frozen=True)
class Way:
    """How bags are filled, and what a training is."""

    name: str
    averages: bool  # seconds are averaged, or every n-th is looked at
    batch_size: int  # bags of each kind
    weight_decay: float
    loss: str = "rtfm"


WAYS = (
    Way("interpolated, 64 of each, decay 5e-4", False, 64, 5e-4),
    Way("averaged, 64 of each, decay 5e-4", True, 64, 5e-4),
    Way("averaged, 128 of each, decay 5e-3", True, 128, 5e-3),
    Way("averaged, 128 of each, decay 5e-3, MIL", True, 128, 5e-3, "mil"),
)


@dataclass(frozen=True)
class Run:
    """One training, measured on the test part."""

    way: str
    seed: int
    steps: int
    precision: float  # of the top seconds of crying recordings
    chance: float
    auc: float  # of all seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Train in each way and print a row for each."""
    options = _parser().parse_args(arguments)
    print(HEADER, flush=True)
    runs: list[Run] = []
    for way in WAYS:
        of_way = [_run(way, seed, options.scale) for seed in range(1, options.seeds + 1)]
        print(_line(way, of_way), flush=True)
        runs += of_way
    if options.json:
        write_runs(options.json, runs)
    return 0


def _run(way: Way, seed: int, scale: float) -> Run:
    from crywatch.core import paths
    from crywatch.data.features import FeatureStore
    from crywatch.detection.anomaly import bags
    from crywatch.detection.anomaly.training import train_on

    filled = bags.fit_to_segments
    if not way.averages:
        bags.fit_to_segments = _interpolated
    try:
        with tempfile.TemporaryDirectory(prefix="crywatch-") as work:
            trained, summary = train_on(
                paths.DATASETS[DATASET],
                "",
                FeatureStore(paths.EMBED),
                _settings().datasets[DATASET].segments,
                _training(way),
                scale,
                seed,
                Path(work),
                None,
            )
    finally:
        bags.fit_to_segments = filled
    return _measured(way, seed, summary.steps, trained.network)


def _settings():
    from crywatch.core import params
    from crywatch.detection.anomaly.mine import MineConfig

    return params.section("mine", MineConfig)


def _training(way: Way) -> BagTrainingConfig:
    from crywatch.core import params
    from crywatch.detection.anomaly.losses import BagLossConfig

    loss = params.typed(
        params.compose([f"loss@mine.loss={way.loss}"]).mine.loss, BagLossConfig, "mine.loss"
    )
    return replace(_settings(), batch_size=way.batch_size, weight_decay=way.weight_decay, loss=loss)


def _measured(way: Way, seed: int, steps: int, network: RtfmNetwork) -> Run:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from crywatch.core import paths
    from crywatch.data.features import FeatureStore
    from crywatch.data.selection import labelled
    from crywatch.data.tables import read_table
    from crywatch.data.tables.clips import EVENTS
    from crywatch.data.truth import Truth
    from crywatch.detection.anomaly.mine import top_seconds
    from crywatch.detection.anomaly.network import score_seconds

    store, top_t = FeatureStore(paths.EMBED), _settings().top_t
    clips = labelled(paths.DATASETS[DATASET])
    clips = clips[clips["split"] == "test"]
    truth = Truth(clips, read_table(paths.UNTRIMMED / "events.parquet", EVENTS))
    scores, labels, hits, chances = [], [], [], []
    for clip_id, label in zip(clips["clip_id"], clips["label"], strict=True):
        scores.append(score_seconds(network, store.clip(clip_id)))
        labels.append(truth.segments(clip_id, len(scores[-1])))
        if label == "cry":
            hits.append(labels[-1][top_seconds(scores[-1], top_t)].mean())
            chances.append(labels[-1].mean())
    auc = roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    return Run(way.name, seed, steps, float(np.mean(hits)), float(np.mean(chances)), float(auc))


def _interpolated(vectors: np.ndarray, segments: int) -> np.ndarray:
    """[n, dim] to [segments, dim], between the two seconds next to each of ``segments`` places."""
    import numpy as np

    position = np.linspace(0, len(vectors) - 1, segments)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(vectors) - 1)
    weight = (position - below)[:, None]
    return ((1 - weight) * vectors[below] + weight * vectors[above]).astype(np.float32)


HEADER = "| bags | steps | mining precision (chance) | AUC of seconds |\n|---|---|---|---|"


def _line(way: Way, runs: Sequence[Run]) -> str:
    steps = [run.steps for run in runs]
    return (
        f"| {way.name} | {min(steps)} to {max(steps)} | {_mean([run.precision for run in runs])} "
        f"({runs[0].chance:.2f}) | {_mean([run.auc for run in runs])} |"
    )


def _mean(values: Sequence[float]) -> str:
    """The mean and its 95 % interval."""
    import numpy as np
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bags", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the schedule of 20,000 steps (default 1)"
    )
    parser.add_argument("--json", type=Path, help="write every run to this file too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
