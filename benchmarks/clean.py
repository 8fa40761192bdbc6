"""Cleaning many short clips: real time by workers, peak memory by clips, the price of the guard.

Each is cleaned as the stage does it, with decoders in processes of their own, and with decoders in
the processes that clean; rounds take turns, and of each the fastest counts.
``python -m benchmarks.clean --help``. Memory is the resident set of the whole process tree, sampled
while it cleans in a process of its own; pages that processes share are counted in each of them.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks import sounds
from benchmarks.machine import positive, write_runs
from crywatch.audio.decode import BlockReader
from crywatch.core import params
from crywatch.data import clean
from crywatch.data.clean import CleanConfig

CLIP_S = 1.0
DISTINCT = 50  # sounds of each codec; the rest are copies of these files
SAMPLE_S = 0.05
PARAMS = Path(__file__).parents[1] / params.PARAMS_FILE


@dataclass(frozen=True)
class Run:
    """One cleaning."""

    clips: int
    workers: int
    guarded: bool  # decoders have processes of their own
    sound_s: float
    wall_s: float
    start_mib: float  # of the process tree, before the first clip
    peak_mib: float  # of the process tree while it cleaned
    main_mib: float  # highest of the main process alone
    ratio: float | None = None  # throughput, by that with decoders in the processes that clean

    @property
    def times_real_time(self) -> float:
        """Seconds of sound a second."""
        return self.sound_s / self.wall_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    runs = []
    with tempfile.TemporaryDirectory(prefix="crywatch-clean-", dir=options.folder) as name:
        folder = Path(name)
        stock = _stock(folder / "stock", min(options.clips))
        print(HEADER, flush=True)
        for clips in options.clips:
            raw = folder / f"raw-{clips}"
            _fill(raw, stock, clips)
            for workers in options.workers:
                pair = _fastest_pair(raw, folder / "out", clips, workers, options.rounds)
                for run in pair:
                    print(_line(run), flush=True)
                runs += pair
    if options.json:
        write_runs(options.json, runs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=positive, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2], help="processes")
    parser.add_argument("--rounds", type=positive, default=3, help="fastest of so many")
    parser.add_argument("--folder", type=Path, help="for the sounds, instead of the system's own")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _stock(folder: Path, wanted: int) -> list[Path]:
    """Clips of a second in every codec, codecs in turn."""
    count = min(DISTINCT, -(-wanted // len(sounds.CODECS)))
    length = round(CLIP_S * sounds.synthesis.RATE_HZ)
    recorded = [clip[:length] for clip in sounds.clips(round(count * sounds.ESC50_SECONDS))]
    for codec in sounds.CODECS:
        sounds.write(recorded, codec, folder / codec.name.replace(" ", "_"))
    listed = [sorted(path.iterdir()) for path in sorted(folder.iterdir())]
    return [path for together in zip(*listed, strict=True) for path in together]


def _fill(raw: Path, stock: list[Path], count: int) -> None:
    """``count`` files below ``raw``: links to those of ``stock``, over and over."""
    raw.mkdir()
    for number in range(count):
        source = stock[number % len(stock)]
        (raw / f"clip{number:06d}{source.suffix}").hardlink_to(source)


def _fastest_pair(raw: Path, out: Path, clips: int, workers: int, rounds: int) -> list[Run]:
    """The fastest run without and with guards."""
    runs = [
        _measure(raw, out, clips, workers, guarded)
        for _ in range(rounds)
        for guarded in (False, True)
    ]
    plain, guarded = (min(runs[half::2], key=lambda run: run.wall_s) for half in (0, 1))
    return [plain, replace(guarded, ratio=plain.wall_s / guarded.wall_s)]


def _measure(raw: Path, out: Path, clips: int, workers: int, guarded: bool) -> Run:
    # A process of its own: what an earlier run left in memory must not count.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_clean, args=(raw, out, workers, guarded, sender))
    process.start()
    sender.close()
    try:
        receiver.recv()  # ready: everything is imported
        memory = _Memory(process.pid)
        with memory:
            summary = receiver.recv()
    except EOFError:
        raise SystemExit("the process that cleans has died") from None
    finally:
        process.join()
    if summary.n_clips != clips:
        raise SystemExit(
            f"{summary.n_quarantined} of {clips} clips were refused: {summary.reasons}"
        )
    return Run(
        clips=clips,
        workers=workers,
        guarded=guarded,
        sound_s=summary.seconds,
        wall_s=memory.seconds,
        start_mib=memory.start_mib,
        peak_mib=memory.peak_mib,
        main_mib=memory.main_mib,
    )


def _clean(raw: Path, out: Path, workers: int, guarded: bool, sender) -> None:
    """In the measured process: say that it is ready, clean, send the summary."""
    import av  # noqa: F401  the libraries' own memory is not the clips'
    import pandas  # noqa: F401
    import pandera.pandas  # noqa: F401
    import soundfile  # noqa: F401
    import soxr  # noqa: F401

    if not guarded:
        clean.GuardedReader = lambda path, limits: BlockReader(path)  # type: ignore
    config = params.section("clean", CleanConfig, PARAMS)
    gc.collect()
    sender.send(None)
    config = replace(config, workers=workers)
    sender.send(clean.run(sounds.Folder("bench"), config, raw, out, out.with_name("work")))
    sender.close()


class _Memory:
    """Samples the resident set of a process tree while it is entered."""

    def __init__(self, pid: int):
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.start_mib = self.main_mib = self.peak_mib = self.seconds = 0.0

    def __enter__(self) -> _Memory:
        self._sample()
        self.start_mib = self.peak_mib
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        try:
            own = self._process.memory_info().rss
            workers = 0
            for child in self._process.children(recursive=True):
                try:
                    workers += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
        except psutil.NoSuchProcess:
            return
        self.main_mib = max(self.main_mib, own / 2**20)
        self.peak_mib = max(self.peak_mib, (own + workers) / 2**20)


HEADER = (
    f"{'clips':>8}{'workers':>9}{'decoders':>10}{'sound, s':>10}{'wall, s':>9}"
    f"{'x real time':>13}{'clips/s':>9}{'start, MiB':>12}"
    f"{'peak, MiB':>11}{'main, MiB':>11}{'ratio':>8}"
)


def _line(run: Run) -> str:
    return (
        f"{run.clips:>8}{run.workers:>9}{'guarded' if run.guarded else 'inside':>10}"
        f"{run.sound_s:>10.0f}{run.wall_s:>9.1f}"
        f"{run.times_real_time:>13.0f}{run.clips / run.wall_s:>9.0f}"
        f"{run.start_mib:>12.0f}{run.peak_mib:>11.0f}{run.main_mib:>11.0f}"
        f"{'' if run.ratio is None else f'{run.ratio:.2f}':>8}"
    )


if __name__ == "__main__":
    sys.exit(main())
