"""One run a stage."""

from __future__ import annotations

import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crywatch import params
from crywatch.digest import file_sha256
from crywatch.tracking import lineage, parent
from crywatch.tracking.store import Store, open_store

FLUSH_COUNT, FLUSH_S = 200, 10.0
MAX_PARAM = 500  # characters


class StageRun:
    """What a stage says of itself. A store that fails is warned of once and never stops a stage."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._run_id = ""
        self._parent_id = ""
        self._pending: list[Any] = []
        self._flushed_s = time.monotonic()
        self._dead = False

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

        def send(store: Store) -> None:
            for name, value in values.items():
                if value is not None:
                    store.client.log_metric(self._parent_id, name, float(value))

        self._try(send)

    def tags(self, values: dict[str, str]) -> None:
        """Text to find and group runs by."""

        def send(store: Store) -> None:
            for name, value in values.items():
                store.client.set_tag(self._run_id, name, value)

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

        def send(store: Store) -> None:
            from mlflow.entities import Dataset, DatasetInput

            source = f'{{"uri": "{Path(path).as_posix()}"}}'
            digest = file_sha256(path)[:36]
            entity = Dataset(name, digest, "local", source)
            store.client.log_inputs(self._run_id, [DatasetInput(entity, [])])

        self._try(send)

    def model(self, name: str, folder: Path | str) -> None:
        """A model folder as a pyfunc with signature and input example."""
        from crywatch.tracking.pyfunc import log_model

        self._try(lambda store: log_model(store, self._run_id, name, Path(folder)))

    def outputs(self, *outs: Path | str) -> None:
        """Digests of what the stage made, as DVC will write them; call it last."""
        made = {Path(out).as_posix(): lineage.dvc_digest(Path(out)) for out in outs}
        self.tags(
            {parent.OUTS: lineage.outs_digest(made)} | {f"out.{k}": v for k, v in made.items()}
        )

    def _start(self, stage: str, key: str | None) -> None:
        name = f"{stage}@{key}" if key else stage

        def begin(store: Store) -> None:
            parent.mark_killed(store)
            profile = str(params.plain("profile"))
            self._parent_id = parent.find_or_create(store, profile)
            commit = lineage.commit()
            entry = lineage.lock_stages().get(name)
            # Not the fluent API: MLFLOW_RUN_ID in the environment would win over the parent.
            run = store.client.create_run(
                store.experiment_id,
                run_name=name,
                tags={
                    parent.PARENT: self._parent_id,
                    parent.PROCESS: parent.this_process().text,
                    parent.STAGE: name,
                    "stage": stage,
                    "variant": key or "",
                    "profile": profile,
                    "git.commit": commit.sha,
                    "git.dirty": str(commit.dirty).lower(),
                    "dvc.stage": name,
                    "dvc.lock.before": lineage.entry_digest(entry) if entry else "",
                    "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
                },
            )
            self._run_id = run.info.run_id
            self._store = store
            self._log_params(store, stage, key)
            parent.note_skipped(store, self._parent_id, name)

        self._try(begin, opening=True)

    def _log_params(self, store: Store, stage: str, key: str | None) -> None:
        from mlflow.entities import Param

        section = params.plain(stage)
        variants = section.pop("variants", None)
        if key and variants:
            section |= variants.get(key, {})
        section |= {"seed": params.plain("seed")}
        section |= {"schedule.scale": params.plain("schedule.scale")}
        flat = [Param(name, str(value)[:MAX_PARAM]) for name, value in _flatten(section)]
        store.client.log_batch(self._run_id, params=flat)

    def _end(self, status: str, seconds: float) -> None:
        peak_kib = sum(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        self.metrics({"duration_s": seconds, "peak_memory_mib": peak_kib / 1024})
        self._flush()

        def end(store: Store) -> None:
            store.client.set_terminated(self._run_id, status)
            store.client.update_run(self._parent_id, status=status)

        self._try(end)

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
        except Exception as error:  # whatever the store or its driver raises
            self._dead = True
            warnings.warn(f"MLflow store: {error}; this stage goes on unrecorded", stacklevel=3)
            print(f"crywatch: the MLflow store failed: {error}", file=sys.stderr)


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@contextmanager
def stage_run(stage: str, key: str | None = None) -> Iterator[StageRun]:
    """A run for ``stage`` (and ``key``, its foreach item) under the parent of this rebuild."""
    run = StageRun()
    started = time.monotonic()
    run._start(stage, key)
    try:
        yield run
    except BaseException as error:
        run.tags({"error": f"{type(error).__name__}: {error}"[:MAX_PARAM]})
        run._end("FAILED", time.monotonic() - started)
        raise
    run._end("FINISHED", time.monotonic() - started)
