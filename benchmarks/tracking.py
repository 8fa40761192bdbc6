"""What tracking costs a training step, with a store that is there, slow or gone.

``python -m benchmarks.tracking --help``. Rounds with and without tracking alternate; a step trains
BlazeNet on a batch and says three numbers, which the store's sender, a process of its own, brings
there. Beside the ratio of whole steps stands the time inside
the call itself, which noise of the machine does not hide.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ONE_THREAD, positive, write_runs
from benchmarks.rounds import Case, Comparison, measure
from crywatch.tracking import stage_run
from crywatch.tracking.journal import Journal, journals

PLAIN = "no tracking"
STORES = ("sqlite", "server", "slow server", "no server")
START_S = 120.0
PARAMS = """
seed: 1
corpora: []
schedule: {scale: 1.0}
bench: {lr: 0.001}
tracking: {uri: "sqlite:///mlflow.db", artifacts: mlartifacts, experiment: bench, linger_s: 1.0}
"""


@dataclass(frozen=True)
class Run:
    """One store."""

    name: str
    step_ms: float  # the middle of the rounds
    ratio: float  # of a step's time to one without tracking in the same round, the middle
    low_ratio: float  # quartiles
    high_ratio: float
    call_us: float  # inside `StageRun.metrics`, the middle of all steps
    worst_us: float  # the 99th hundredth
    end_s: float  # what leaving the stage takes


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    warnings.filterwarnings("ignore", message="MLflow store")
    with tempfile.TemporaryDirectory(prefix="crywatch-tracking-") as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(PARAMS)
        with contextlib.chdir(folder), contextlib.ExitStack() as stack:
            runs = _measure(options, folder, stack)
    print("store         step ms   times plain (quartiles)    call us   99 % us   end s")
    for run in runs:
        spread = f"{run.ratio:.3f} ({run.low_ratio:.3f} to {run.high_ratio:.3f})"
        print(
            f"{run.name:12s} {run.step_ms:8.2f}   {spread:24s} {run.call_us:9.1f} "
            f"{run.worst_us:9.1f} {run.end_s:7.2f}"
        )
    if options.json:
        write_runs(options.json, runs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=positive, default=200, help="of training a round")
    parser.add_argument("--rounds", type=positive, default=11, help="medians are over these")
    parser.add_argument("--batch", type=positive, default=16, help="pictures a step")
    parser.add_argument("--delay-s", type=float, default=0.2, help="a request to the slow server")
    parser.add_argument(
        "--only", nargs="+", choices=STORES, default=STORES, help="stores, all of them by default"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _measure(options: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> list[Run]:
    addresses = {"sqlite": f"sqlite:///{folder}/mlflow.db", "no server": "http://127.0.0.1:9"}
    if {"server", "slow server"} & set(options.only):
        port = stack.enter_context(_server(folder))
        addresses["server"] = f"http://127.0.0.1:{port}"
        slow_port = stack.enter_context(_delayed(port, options.delay_s))
        addresses["slow server"] = f"http://127.0.0.1:{slow_port}"
    stages = {name: stack.enter_context(_stage(addresses[name])) for name in options.only}
    call_s: dict[str, list[float]] = {name: [] for name in stages}
    train = _training(options.batch)

    def idle() -> None:
        """What one case left to send must not slow the next one."""
        for name, stage in stages.items():
            if name != "no server":
                stage.wait_until_sent(60.0)

    def call(name: str | None) -> Callable[[], None]:
        def steps() -> None:
            for step in range(options.steps):
                loss = train()
                if name is not None:
                    begun_s = time.perf_counter()
                    stages[name].metrics({"loss": loss, "auc": 0.5, "lr": 0.001}, step=step)
                    call_s[name].append(time.perf_counter() - begun_s)

        return steps

    cases = [Case(PLAIN, options.steps, call(None), idle)]
    cases += [Case(name, options.steps, call(name), idle) for name in stages]
    result = measure(Comparison("tracking", tuple(cases), PLAIN, 1), options.rounds)
    runs = []
    for name, stage in stages.items():
        timing, spent = result.timing(name), sorted(call_s[name])
        begun_s = time.perf_counter()
        stage.end()
        runs.append(
            Run(
                name=name,
                step_ms=timing.ms,
                ratio=1 / timing.ratio,
                low_ratio=1 / timing.high_ratio,
                high_ratio=1 / timing.low_ratio,
                call_us=1e6 * statistics.median(spent),
                worst_us=1e6 * spent[int(0.99 * len(spent))],
                end_s=time.perf_counter() - begun_s,
            )
        )
    return runs


class _Stage:
    """A run of a stage that is left when it is told to."""

    def __init__(self, address: str) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = address
        before = set(journals())
        self._context = stage_run("bench")
        self.metrics = self._context.__enter__().metrics
        [self._folder] = set(journals()) - before
        self._ended = False

    def wait_until_sent(self, wait_s: float) -> None:
        """What was said so far is in the store, or ``wait_s`` is over."""
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s:
            journal = Journal.open(self._folder)
            if journal is None or not journal.left():
                break
            time.sleep(0.05)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._context.__exit__(None, None, None)


@contextlib.contextmanager
def _stage(address: str) -> Iterator[_Stage]:
    stage = _Stage(address)
    try:
        yield stage
    finally:
        stage.end()


def _training(batch: int) -> Callable[[], float]:
    """A step of training, which gives its loss."""
    import torch

    from crywatch.detection.blazenet.network import BlazeNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = BlazeNet()
    optimiser = torch.optim.Adam(network.parameters())
    pictures = torch.randn(batch, 64, 64)

    def step() -> float:
        optimiser.zero_grad()
        loss = network(pictures).square().mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


@contextlib.contextmanager
def _delayed(port: int, delay_s: float) -> Iterator[int]:
    """A port that passes all on to ``port``, each piece of a request so much later."""

    def carry(source: socket.socket, target: socket.socket, wait_s: float) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                time.sleep(wait_s)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed: the measurement is over
            while True:
                client, _ = listening.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for way in ((client, server, delay_s), (server, client, 0.0)):
                    threading.Thread(target=carry, args=way, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[int]:
    """The port of an MLflow server in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            until_s = time.monotonic() + START_S
            while time.monotonic() < until_s:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                    break
                time.sleep(0.2)
            yield port
        finally:
            os.killpg(server.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 9)


if __name__ == "__main__":
    sys.exit(main())
