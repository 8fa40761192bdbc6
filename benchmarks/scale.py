"""Embedding and mining AudioSet, on paper: ``python -m benchmarks.scale --help``.

Clips of 10 s of generated sound are decoded, embedded, written and mined by the stages' own works:
in this process, then on a Ray cluster of this machine with each number of tasks at once, in turns.
Empty work of the same results tells what the process that writes them can take in. All processes
compute on one thread, and rates are by CPU time, which other work on the machine hardly changes.
From them follow time and cost on more nodes: the slowest of three bounds holds.

    cores    nodes x cores x clips a second of CPU that Ray's processes spend, with the most tasks
    writer   clips a second of CPU of the stage's process, while nothing is computed
    storage  bytes a second that all nodes read together, over the bytes of a clip

Nothing is shuffled: a clip is read once, and its vectors go to the writer.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ONE_THREAD, positive, write_runs

if TYPE_CHECKING:
    from crywatch.detection.embedders import EmbedderConfig
    from crywatch.detection.engine import Engine, Work

AUDIOSET_CLIPS = 2_084_320
CLIP_S = 10
RATE_HZ = 16_000
BATCH_S = 256  # as in conf/stage/embed.yaml
TOP_T = 2
SEED = 1
HOUR_S = 3600.0
MB = 1e6


@dataclass(frozen=True)
class Rates:
    """What was measured for one embedder: clips a second of CPU, the median of rounds."""

    embedder: str
    clips: int
    local: float  # of this process, working alone
    ray: dict[int, float]  # of Ray's processes, by tasks at once
    writer: float  # of this process, taking in what nothing was computed for; 0: not measured
    audio_bytes: float  # of a clip, as FLAC
    vector_bytes: float  # of a clip, as stored

    @property
    def core(self) -> float:
        """Of one core of a node."""
        return self.ray[max(self.ray)] if self.ray else self.local


@dataclass(frozen=True)
class Fleet:
    """What is assumed of the nodes."""

    cores: int  # of a node
    price: float  # of a node for an hour
    storage_mb_s: float  # that all nodes read together
    start_s: float  # until the first clip is worked on


@dataclass(frozen=True)
class Projection:
    """AudioSet on a number of nodes."""

    nodes: int
    rate: float  # clips a second
    bound: str  # cores, writer, storage
    hours: float
    cost: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print the tables."""
    options = _parser().parse_args(arguments)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.pop("RAY_ADDRESS", None)  # of this machine alone

    # Only now: torch reads the variables above when it is imported.
    import torch

    torch.set_num_threads(1)
    logging.getLogger("ray").setLevel(logging.ERROR)
    fleet = Fleet(options.cores, options.price, options.storage_mb_s, options.start_s)
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        files = _clips(Path(folder) / "audio", options.clips)
        for config in _embedders(options):
            measured.append(_measure(config, files, Path(folder), options))
            print(_measured(measured[-1]), _table(measured[-1], fleet, options.nodes), sep="\n")
    if options.json:
        write_runs(options.json, measured)
    return 0


def project(rates: Rates, fleet: Fleet, nodes: int) -> Projection:
    """Time and cost of AudioSet's clips on ``nodes``."""
    bounds = {
        "cores": nodes * fleet.cores * rates.core,
        "writer": rates.writer or float("inf"),
        "storage": fleet.storage_mb_s * MB / rates.audio_bytes,
    }
    bound = min(bounds, key=bounds.__getitem__)
    hours = (fleet.start_s + AUDIOSET_CLIPS / bounds[bound]) / HOUR_S
    return Projection(nodes, bounds[bound], bound, hours, nodes * fleet.price * hours)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=positive, default=400, help="of 10 s, in a round")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--tasks", type=int, nargs="*", default=[1, 2], help="at once; none: no Ray"
    )
    parser.add_argument("--vggish", default="", help="handle of VGGish: measured too")
    parser.add_argument("--yamnet", default="", help="handle of YAMNet (1,024 numbers)")
    parser.add_argument("--nodes", type=positive, nargs="+", default=[1, 10, 100])
    parser.add_argument("--cores", type=positive, default=16, help="of a node")
    parser.add_argument("--price", type=float, default=0.70, help="of a node for an hour")
    parser.add_argument("--storage-mb-s", type=float, default=1000.0, help="read by all nodes")
    parser.add_argument("--start-s", type=float, default=300.0, help="until the first clip")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _embedders(options: argparse.Namespace) -> Iterator[EmbedderConfig]:
    from crywatch.detection.embedders import EmbedderConfig

    yield EmbedderConfig("logmel", 128, "")
    if options.vggish:
        yield EmbedderConfig("vggish", 128, options.vggish)
    if options.yamnet:
        yield EmbedderConfig("yamnet", 1024, options.yamnet)


def _clips(folder: Path, count: int) -> list[Path]:
    """FLACs of tones in noise, about as compressible as recordings."""
    import numpy as np

    from crywatch.audio.waves.cleaned import write_flac

    folder.mkdir()
    time_s = np.arange(CLIP_S * RATE_HZ) / RATE_HZ
    files = []
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        tones = sum(np.sin(2 * np.pi * hz * time_s) for hz in rng.uniform(200, 3000, 3))
        wave = 0.05 * tones + 0.01 * rng.standard_normal(len(time_s))
        files.append(folder / f"{number}.flac")
        write_flac(files[-1], wave.astype(np.float32))
    return files


def _measure(
    config: EmbedderConfig, files: list[Path], folder: Path, options: argparse.Namespace
) -> Rates:
    from dataclasses import replace

    from crywatch.detection.engine import LOCAL, EngineConfig, open_engine

    model = _model(config, folder / f"model-{config.name}")
    local: list[float] = []
    ray: dict[int, list[float]] = {tasks: [] for tasks in options.tasks}
    writer: list[float] = []

    def spent(engine: Engine, empty: bool = False) -> _Cpu:
        where, before = Path(tempfile.mkdtemp(dir=folder)), _cpu()
        _work(engine, config, files, model, where, empty)
        after = _cpu()
        return _Cpu(after.own_s - before.own_s, after.others_s - before.others_s)

    _work(LOCAL, config, files[:2], model, Path(tempfile.mkdtemp(dir=folder)))  # warms up
    if not options.tasks:
        local = [spent(LOCAL).own_s for _ in range(options.rounds)]
    else:
        with open_engine(EngineConfig("ray", cpus=1.0)) as engine:
            spent(engine)  # starts the processes
            for _ in range(options.rounds):
                local.append(spent(LOCAL).own_s)
                for tasks in options.tasks:
                    at_once = type(engine)(replace(engine.config, tasks=tasks), engine.cpus)
                    ray[tasks].append(spent(at_once).others_s)
                writer.append(spent(engine, empty=True).own_s)
    count = len(files)
    return Rates(
        embedder=config.name,
        clips=count,
        local=count / statistics.median(local),
        ray={tasks: count / statistics.median(seconds) for tasks, seconds in ray.items()},
        writer=count / statistics.median(writer) if writer else 0.0,
        audio_bytes=sum(file.stat().st_size for file in files) / count,
        vector_bytes=4.0 * config.dim * CLIP_S,
    )


@dataclass(frozen=True)
class _Cpu:
    own_s: float
    others_s: float  # of the processes below this one: Ray's, on a cluster of this machine alone


def _cpu() -> _Cpu:
    """Spent so far."""
    import psutil

    def of(process: psutil.Process) -> float:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system

    here = psutil.Process()
    return _Cpu(of(here), sum(map(of, here.children(recursive=True))))


def _model(config: EmbedderConfig, folder: Path) -> Path:
    """A miner of random weights: its speed does not depend on them."""
    import torch

    from crywatch.core.models import ModelFolder, save
    from crywatch.detection.anomaly.network import RtfmNetwork

    torch.manual_seed(SEED)
    weights = {f"head.{k}": v for k, v in RtfmNetwork(config.dim).state_dict().items()}
    save(folder, ModelFolder({"kind": "rtfm", "dim": config.dim}, weights))
    return folder


def _work(
    engine: Engine,
    config: EmbedderConfig,
    files: list[Path],
    model: Path,
    folder: Path,
    empty: bool = False,
) -> None:
    """What stages embed and mine do for ``files``; ``empty``: without any computation."""
    import pandas as pd

    from crywatch.data.features import FeatureWriter, StoreInfo
    from crywatch.detection.anomaly.mine import BATCH, Mining
    from crywatch.detection.embedders.embed import Embedding, batches

    ids = [f"audioset/{number}" for number in range(len(files))]
    clips = pd.DataFrame({"clip_id": ids, "path": list(map(str, files)), "duration_s": CLIP_S})
    writer = FeatureWriter(StoreInfo(config.name, config.dim, ""), folder / "work")
    work = _empty(config.dim) if empty else Embedding(config)
    writer.write("audioset", engine.map(work, batches(clips, BATCH_S)))
    writer.finish(["audioset"], folder / "out")
    if not empty:
        mining = Mining(model, folder / "out", TOP_T)
        groups = [ids[at : at + BATCH] for at in range(0, len(ids), BATCH)]
        assert len(list(engine.map(mining, groups))) == len(ids)


def _empty(dim: int) -> Work:
    """Vectors of the same size that nothing is computed for."""
    import numpy as np

    from crywatch.data.features import ClipFeatures
    from crywatch.detection.embedders.embed import ClipFile
    from crywatch.detection.engine import Work

    @dataclass(frozen=True)
    class Empty(Work[ClipFile, ClipFeatures]):
        dim: int

        def __call__(self, batch: Sequence[ClipFile]) -> Iterable[ClipFeatures]:
            zeros = np.zeros((CLIP_S, self.dim), dtype=np.float32)
            return [ClipFeatures(clip.clip_id, zeros + 1) for clip in batch]

    return Empty(dim)


def _measured(rates: Rates) -> str:
    ray = ", ".join(f"{tasks} at once {rate:.1f}" for tasks, rate in rates.ray.items())
    total_tb = AUDIOSET_CLIPS * rates.audio_bytes / 1e12
    total_gb = AUDIOSET_CLIPS * rates.vector_bytes / 1e9
    return (
        f"\n{rates.embedder}: clips a second of CPU: local {rates.local:.1f}; Ray: "
        f"{ray or 'not measured'}; writer {rates.writer:.0f}\n"
        f"AudioSet is {total_tb:.2f} TB of FLAC at {rates.audio_bytes / 1000:.0f} kB a clip, and "
        f"{total_gb:.1f} GB of vectors\n"
    )


def _table(rates: Rates, fleet: Fleet, nodes: Sequence[int]) -> str:
    lines = [
        f"| nodes of {fleet.cores} cores | clips a second | bound by | hours | cost at "
        f"{fleet.price:.2f} a node-hour |",
        "|---:|---:|---|---:|---:|",
    ]
    for count in nodes:
        at = project(rates, fleet, count)
        lines.append(
            f"| {at.nodes} | {at.rate:.0f} | {at.bound} | {at.hours:.2f} | {at.cost:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
