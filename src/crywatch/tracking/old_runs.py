"""Runs that nothing needs any more: which, how large, and how they go.

A rebuild is needed as long as a registered version names it, or a younger rebuild's skipped stage
has its outputs from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from crywatch.tracking import parent, registry, sweeps
from crywatch.tracking.store import SQLITE, Store, tagged

if TYPE_CHECKING:
    from mlflow.entities import Run

FILE = "file"
VERSIONS = 200  # of a request


@dataclass(frozen=True)
class OldRun:
    """A run with those below it, and the models that they logged."""

    name: str
    run_ids: tuple[str, ...]  # the run itself is the last
    model_ids: tuple[str, ...]
    folders: tuple[Path, ...]  # of their artifacts, as far as they lie on this machine
    was_deleted: bool  # by a person, in MLflow's pages


def find(store: Store, keep: int, before_ms: int) -> Iterator[OldRun]:
    """Rebuilds begun before ``before_ms`` that are none of the ``keep`` latest, and deleted runs.

    A deleted run of a store that is no file here is its server's to remove.
    """
    rebuilds = list(store.runs(tagged(parent.STAGE, "rebuild")))
    old = {
        run.info.run_id: run
        for run in rebuilds[keep:]
        if run.info.start_time < before_ms and run.info.status != "RUNNING"
    }
    kept = [run for run in rebuilds if run.info.run_id not in old]
    for run_id in _needed(store, kept, _registered(store)):
        old.pop(run_id, None)
    for run in old.values():
        yield _old_run(store, [*parent.children(store, run.info.run_id), run])
    left = {run.data.tags.get(parent.PARENT) for run in rebuilds if run.info.run_id not in old}
    for sweep in store.runs(tagged(parent.STAGE, sweeps.STAGE)):
        if sweep.info.run_id not in left and sweep.info.start_time < before_ms:
            yield _old_run(store, [sweep])
    if store.uri.startswith(SQLITE):
        yield from (_old_run(store, [run], True) for run in _deleted(store))


def remove(store: Store, old: OldRun) -> None:
    """Delete them in the store; in a SQLite file for good, with what they logged."""
    client = store.client
    if not old.was_deleted:
        for model_id in old.model_ids:
            client.delete_logged_model(model_id)
        for run_id in old.run_ids:
            client.delete_run(run_id)
    if store.uri.startswith(SQLITE):
        from mlflow.tracking._tracking_service.utils import _get_store

        # What `mlflow gc` calls; the command itself would take all deleted experiments along.
        database: Any = _get_store(store.uri)
        for model_id in old.model_ids:
            database._hard_delete_logged_model(model_id)
        for run_id in old.run_ids:
            database._hard_delete_run(run_id)
        for folder in old.folders:
            shutil.rmtree(folder, ignore_errors=True)


def _needed(store: Store, kept: Sequence[Run], named: set[str]) -> set[str]:
    """Rebuilds that versions, or skipped stages of needed rebuilds, have something from."""
    needed: set[str] = set()
    queue = [run.info.run_id for run in kept]
    queue += [_top(store, run_id) for run_id in named]
    while queue:
        run_id = queue.pop()
        if run_id and run_id not in needed:
            needed.add(run_id)
            for child in parent.children(store, run_id):
                if source := child.data.tags.get(parent.OUTPUTS_FROM):
                    queue.append(_top(store, source))
    return needed


def _top(store: Store, run_id: str) -> str:
    """The rebuild of a run; empty where the store has neither."""
    run = store.run(run_id)
    return "" if run is None else run.data.tags.get(parent.PARENT, run_id)


def _registered(store: Store) -> set[str]:
    """Runs that any version of any registered model names."""
    found: set[str] = set()
    token: str | None = ""
    while token is not None:
        page = store.client.search_model_versions(max_results=VERSIONS, page_token=token or None)
        for version in page:
            own = (registry.STAGE_RUN, registry.REBUILD_RUN)
            found |= {version.run_id or "", *(version.tags.get(name, "") for name in own)}
        token = page.token or None
    return found - {""}


def _deleted(store: Store) -> Iterator[Run]:
    from mlflow.entities import ViewType

    only = ViewType.DELETED_ONLY
    yield from store.client.search_runs([store.experiment_id], run_view_type=only)


def _old_run(store: Store, runs: Sequence[Run], was_deleted: bool = False) -> OldRun:
    models: list[Any] = []
    for run in runs:
        for output in run.outputs.model_outputs if run.outputs else []:
            models.append(store.client.get_logged_model(output.model_id))
    places = [run.info.artifact_uri for run in runs]
    places += [model.artifact_location for model in models]
    return OldRun(
        name=runs[-1].info.run_name or runs[-1].info.run_id,
        run_ids=tuple(run.info.run_id for run in runs),
        model_ids=tuple(model.model_id for model in models),
        folders=tuple(folder for folder in map(_folder, places) if folder is not None),
        was_deleted=was_deleted,
    )


def _folder(address: str) -> Path | None:
    """Of a run's own artifacts (``.../RUN/artifacts``) or a model's, where it is a folder here."""
    parts = urlsplit(address)
    path = Path(unquote(parts.path))
    if parts.scheme not in ("", FILE) or not path.is_dir():
        return None
    return path.parent if path.name == "artifacts" else path
