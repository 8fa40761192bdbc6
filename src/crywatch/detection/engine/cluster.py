"""Work on a Ray cluster, by Ray Data.

Batches are tasks, not actors: a task of a node that died runs again wherever there is room, while
an actor's would wait for a node that may never come back. What work makes once (a network) is kept
by the process that made it, for its next tasks.

The nodes see the project's folder under the same path, on storage they share; they have the same
libraries, and get this package's code from here. Numbers are summed in another order by another
number of threads or another kind of processor: the number is carried to the nodes, the kind should
be one for the whole cluster.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import crywatch
from crywatch.core.errors import ConfigError, CrywatchError, EngineError
from crywatch.core.threads import VARIABLES
from crywatch.detection.engine.base import EngineConfig, Item, Made, Work

WINDOW = 4096  # tasks of one data set: what lies between two of them is all that is held
LOCAL_STORE_BYTES = 200 << 20  # object store of a cluster of this machine alone
THREADS = (*VARIABLES, "TF_NUM_INTRAOP_THREADS")

_works: dict[bytes, Work] = {}  # of this process, by their pickles


@dataclass(frozen=True)
class _Task:
    """One row of the data set: what it is applied to, and what it makes, are pickles."""

    work: bytes
    root: str  # folder that relative paths are relative to

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            os.chdir(self.root)
        except OSError as error:
            return _failure(
                EngineError(
                    f"engine: node {os.uname().nodename} does not see {self.root} "
                    f"({error.strerror}): all nodes must share the project's folder, under one path"
                )
            )
        if self.work not in _works:
            _works.clear()  # of an earlier stage; a network can be large
            _works[self.work] = pickle.loads(self.work)
        try:
            work = _works[self.work]
            results = [result for batch in pickle.loads(row["batches"]) for result in work(batch)]
        except CrywatchError as error:
            return _failure(error)
        return {"made": pickle.dumps(results), "error": b""}


def _failure(error: CrywatchError) -> dict[str, bytes]:
    return {"made": b"", "error": pickle.dumps(error)}


class RayEngine:
    """Work by `ray.data`, in the order of the batches."""

    def __init__(self, config: EngineConfig, cpus: float):
        self.config, self.cpus = config, cpus

    def map(self, work: Work[Item, Made], batches: Iterable[Sequence[Item]]) -> Iterator[Made]:
        """As `Engine.map`; work runs ahead as far as Ray's object store holds what it makes."""
        from ray import cloudpickle

        # Work may be of a script or a notebook, which no node could import.
        task = _Task(cloudpickle.dumps(work), os.getcwd())
        groups = _group(iter(batches), self.config.batches)
        while window := list(islice(groups, WINDOW)):
            for row in self._rows(task, window):
                if row["error"]:
                    raise pickle.loads(row["error"])
                yield from pickle.loads(row["made"])

    def _rows(self, task: _Task, window: list[list[Sequence[Item]]]) -> Iterator[dict[str, bytes]]:
        import ray

        items = [{"batches": pickle.dumps(batches)} for batches in window]
        with warnings.catch_warnings():
            # The one way to bound the repetitions, until Ray 2.64 at least.
            warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
            dataset = ray.data.from_items(items, override_num_blocks=len(items)).map(
                _function(task),
                num_cpus=self.cpus,
                concurrency=self.config.tasks or None,
                max_retries=self.config.retries,
            )
        try:
            yield from dataset.iter_rows()
        except (ray.exceptions.RayError, ray.data.exceptions.SystemException) as error:
            raise EngineError(
                f"engine: the cluster gave up ({type(error).__name__}: "
                f"{str(error).strip().splitlines()[-1]}); a task is repeated engine.retries = "
                f"{self.config.retries} times where its node or process dies. What was done is "
                "kept: repeat the stage"
            ) from error


def _function(task: _Task) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """Ray Data takes a callable object for an actor."""
    return lambda row: task(row)


def _group(batches: Iterator[Sequence[Item]], count: int) -> Iterator[list[Sequence[Item]]]:
    while group := list(islice(batches, count)):
        yield group


@contextmanager
def connect(config: EngineConfig) -> Iterator[RayEngine]:
    """Ray's engine; where there is no cluster, one of this machine alone is started for it."""
    if config.batches < 1 or config.tasks < 0 or config.cpus < 0 or config.retries < 0:
        raise ConfigError(
            "engine: batches must be at least 1, and tasks, cpus and retries at least 0"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EngineError(
            f"engine.name is ray, but Ray Data is not installed ({error}): "
            "pip install 'crywatch[ray]', or set engine=local"
        ) from error
    threads = _threads()
    _silence(ray)
    address = config.address or os.environ.get("RAY_ADDRESS", "")
    alone: dict[str, Any] = {} if address else {"object_store_memory": LOCAL_STORE_BYTES}
    try:
        ray.init(
            address or "local",
            include_dashboard=False if not address else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={
                "py_modules": [str(Path(crywatch.__file__).parent)],
                "env_vars": threads,
            },
            **alone,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(
            f"engine: no Ray cluster at {address or 'this machine'} "
            f"({str(error).strip().splitlines()[0]}): start one with `ray start --head`, and name "
            "it in RAY_ADDRESS or engine.address; if it asks for a token, set RAY_AUTH_MODE=token, "
            "with the token in ~/.ray/auth_token"
        ) from error
    try:
        yield RayEngine(config, config.cpus or float(threads["OMP_NUM_THREADS"]))
    finally:
        ray.shutdown()


def _threads() -> dict[str, str]:
    """How many threads this process computes with, as a task's environment says it."""
    import torch
    from threadpoolctl import threadpool_info

    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    variables = {name: os.environ[name] for name in THREADS if name in os.environ}
    # Ray would set the first to the task's CPUs.
    variables["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    return variables | ({"OPENBLAS_NUM_THREADS": str(blas[0])} if blas else {})


def _silence(ray: Any) -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
