"""One run a stage."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crywatch import params
from crywatch.digest import file_sha256
from crywatch.errors import CrywatchError
from crywatch.tracking import lineage, parent
from crywatch.tracking.failure import store_is_lost
from crywatch.tracking.lineage import Entry
from crywatch.tracking.plan import planned_stages
from crywatch.tracking.store import Store, open_store

FLUSH_COUNT, FLUSH_S = 200, 10.0
MAX_PARAM = 500  # characters
MAX_DIGEST = 36  # characters of a data set's digest, as MLflow limits it
# Mappings of a section with one entry a key.
FOREACH_SECTIONS = ("variants", "datasets", "losses", "models", "recipes")
SIGTERM_EXIT = 128 + signal.SIGTERM


class StageRun:
    """What a stage says of itself.

    What cannot be logged is warned of, and a store that is gone is warned of once: neither ever
    stops a stage.

    Tags tie a run to DVC: ``dvc.lock.before`` is the digest of the stage's entry in dvc.lock when
    it started (empty for a new stage), and ``dvc.lock.entry`` that of the entry which DVC will
    write once the stage has ended, both as `lineage.entry_digest` makes them. They are equal if
    the stage was repeated and gave the same.
    """

    def __init__(self) -> None:
        self._store: Store | None = None
        self._run_id = ""
        self._parent_id = ""
        self._pending: list[Any] = []
        self._flushed_s = time.monotonic()
        self._dead = False
        self._values: dict[str, Any] = {}  # all of params.yaml
        self._lock: dict[str, Entry] = {}
        self._plan: dict[str, Entry] = {}
        self._planned: Entry | None = None

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Numbers, with a step for those of an epoch; sent in batches."""
        now = int(time.time() * 1000)
        for name, value in values.items():
            if value is not None:
                self._pending.append((name, float(value), now, step or 0))
        if len(self._pending) >= FLUSH_COUNT or time.monotonic() - self._flushed_s > FLUSH_S:
            self._flush()

    def headline(self, values: dict[str, float]) -> None:
        """Metrics that the parent run shows too."""
        self.metrics(values)
        now = int(time.time() * 1000)

        def send(store: Store) -> None:
            from mlflow.entities import Metric

            kept = [Metric(k, float(v), now, 0) for k, v in values.items() if v is not None]
            store.client.log_batch(self._parent_id, metrics=kept)

        self._try(send)

    def tags(self, values: dict[str, str]) -> None:
        """Text to find and group runs by."""

        def send(store: Store) -> None:
            from mlflow.entities import RunTag

            tags = [RunTag(name, str(value)) for name, value in values.items()]
            store.client.log_batch(self._run_id, tags=tags)

        self._try(send)

    def figure(self, figure: Any, name: str) -> None:
        """A matplotlib figure, e.g. ``roc.png``."""
        self._try(lambda store: store.client.log_figure(self._run_id, figure, f"figures/{name}"))

    def text(self, text: str, name: str) -> None:
        """A text file."""
        self._try(lambda store: store.client.log_text(self._run_id, text, name))

    def artifact(self, path: Path | str, folder: str = "") -> None:
        """A file or folder."""

        def send(store: Store) -> None:
            log = store.client.log_artifacts if Path(path).is_dir() else store.client.log_artifact
            log(self._run_id, str(path), folder or None)

        self._try(send)

    def table(self, frame: Any, name: str) -> None:
        """A data frame as CSV."""
        self.text(frame.to_csv(index=False), f"tables/{name}")

    def dataset(self, name: str, path: Path | str) -> None:
        """A table that the stage used, with its digest."""
        self._try(
            lambda store: self._log_dataset(
                store, name, file_sha256(path)[:MAX_DIGEST], Path(path).as_posix(), "local"
            )
        )

    def model(self, name: str, folder: Path | str) -> None:
        """A model folder as a pyfunc with signature and input example.

        The corpora that it heard, their licences and whether commercial use is allowed are tags
        of the model and of the run.
        """
        from crywatch.tracking.pyfunc import log_model

        def send(store: Store) -> None:
            self.tags(log_model(store, self._run_id, name, Path(folder)).as_tags())

        self._try(send)

    def outputs(self, *outs: Path | str) -> None:
        """Digests of what the stage made, as DVC will write them; call it last."""

        def send(store: Store) -> None:
            made = {Path(out).as_posix(): lineage.dvc_digest(Path(out)) for out in outs}
            tags = {parent.OUTS: lineage.outs_digest(made)}
            tags |= {f"out.{path}": digest for path, digest in made.items()}
            if self._planned:
                entry = Entry(self._planned.cmd, (), made, self._planned.params)
                tags["dvc.lock.entry"] = lineage.entry_digest(entry)
            self.tags(tags)

        self._try(send)

    def _start(self, stage: str, key: str | None) -> None:
        name = f"{stage}@{key}" if key else stage

        def begin(store: Store) -> None:
            self._values = params.plain()
            profile = str(self._values.get("profile", ""))
            commit = lineage.commit()
            parent.mark_killed(store)
            self._parent_id = parent.find_or_create(store, profile, commit)
            # Not the fluent API: MLFLOW_RUN_ID in the environment would win over the parent.
            run = store.client.create_run(
                store.experiment_id,
                run_name=name,
                tags=parent.common_tags(profile, commit)
                | {
                    parent.PARENT: self._parent_id,
                    parent.PROCESS: parent.this_process().text,
                    parent.STAGE: name,
                    "stage": stage,
                    "variant": key or "",
                    "dvc.stage": name,
                }
                | ({"corpus": key} if key in self._values.get("corpora", []) else {}),
            )
            self._run_id = run.info.run_id
            self._store = store

        def read(store: Store) -> None:
            self._lock = lineage.lock_stages()
            self._plan = planned_stages(self._values)
            self._planned = self._plan.get(name)

        def tie(store: Store) -> None:
            before = self._lock.get(name)
            self.tags({"dvc.lock.before": lineage.entry_digest(before) if before else ""})
            digests = {n: self._lock[n] for n in self._lock if n != name}
            here = {name: self._planned or before or Entry()}
            for path, digest in lineage.inputs(name, digests | here).items():
                self._log_dataset(store, path, digest[:MAX_DIGEST], path, "dvc")
            parent.note_skipped(store, self._parent_id, name, self._plan, self._lock)

        self._try(begin, opening=True)
        self._try(read)
        self._try(lambda store: self._log_params(store, stage, key))
        self._try(tie)

    def _log_params(self, store: Store, stage: str, key: str | None) -> None:
        from mlflow.entities import Param

        section = dict(self._values.get(stage) or {})
        for name in FOREACH_SECTIONS:
            listed = section.get(name)
            if key and isinstance(listed, dict) and key in listed:
                section |= section.pop(name)[key]
        shared = self._planned.params if self._planned else {}
        # Not the entries of other stages' sections; but what is said of the corpus is the stage's.
        section |= {
            k: v
            for k, v in shared.items()
            if k != stage and ("." not in k or k.startswith("corpus."))
        }
        section |= {
            "seed": self._values.get("seed"),
            "schedule": self._values.get("schedule", {}),
        }
        flat = [Param(name, str(value)[:MAX_PARAM]) for name, value in _flatten(section)]
        store.client.log_batch(self._run_id, params=flat)

    def _log_dataset(self, store: Store, name: str, digest: str, path: str, kind: str) -> None:
        from mlflow.entities import Dataset, DatasetInput

        entity = Dataset(name, digest, kind, json.dumps({"uri": path}))
        store.client.log_inputs(self._run_id, [DatasetInput(entity, [])])

    def _end(self, status: str, seconds: float) -> None:
        peak_kib = sum(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        self.metrics({"duration_s": seconds, "peak_memory_mib": peak_kib / 1024})
        self._flush()
        self._try(lambda store: store.client.set_terminated(self._run_id, status))
        self._try(lambda store: parent.update(store, self._parent_id))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._flushed_s = time.monotonic()
        if not pending:
            return

        def send(store: Store) -> None:
            from mlflow.entities import Metric

            store.client.log_batch(self._run_id, metrics=[Metric(*values) for values in pending])

        self._try(send)

    def _try(self, action: Callable[[Store], Any], opening: bool = False) -> None:
        if self._dead or (self._store is None and not opening):
            return
        try:
            action(open_store() if opening else self._store)
        except Exception as error:  # whatever the store, its driver or a file raises
            self._dead = opening or store_is_lost(error)
            if self._dead:
                said = f"{error}; this stage goes on unrecorded"
            else:
                said = f"{type(error).__name__}: {error}; this was not logged"
            warnings.warn(f"MLflow store: {said}", stacklevel=3)


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class _Sigterm:
    """While it is entered, SIGTERM unwinds the stage, so that its run can be ended."""

    def __init__(self) -> None:
        self.came = False
        self._pid = os.getpid()

    def __enter__(self) -> _Sigterm:
        self._usable = threading.current_thread() is threading.main_thread()
        if self._usable:
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._usable:
            signal.signal(signal.SIGTERM, self._before)

    def _handle(self, number: int, frame: object) -> None:
        if os.getpid() != self._pid:  # a forked worker just ends
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self.came:
            self.came = True
            raise SystemExit(SIGTERM_EXIT)


@contextmanager
def stage_run(stage: str, key: str | None = None) -> Iterator[StageRun]:
    """A run for ``stage`` (and ``key``, its foreach item) under the parent of this rebuild.

    An error that a user can act on is one line on standard error and exit code 1.
    """
    run = StageRun()
    started = time.monotonic()
    with _Sigterm() as sigterm:
        try:
            run._start(stage, key)
            started = time.monotonic()  # the stage's own time, without MLflow's import
            yield run
        except BaseException as error:
            run.tags({"error": f"{type(error).__name__}: {error}"[:MAX_PARAM]})
            stopped = sigterm.came or isinstance(error, KeyboardInterrupt)
            run._end("KILLED" if stopped else "FAILED", time.monotonic() - started)
            if isinstance(error, CrywatchError):  # says what to do; a traceback would hide it
                name = f"{stage}@{key}" if key else stage
                print(f"crywatch: {name}: {error}", file=sys.stderr)
                raise SystemExit(1) from None
            raise
        run._end("FINISHED", time.monotonic() - started)
