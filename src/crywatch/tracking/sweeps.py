"""The run above the rebuilds of one `dvc queue start`: what differed between them, what came of it.

Experiments of one baseline commit are one sweep as long as one of the queue's workers that ran them
lives. What a stage knows of its queue (`facts`) is kept beside its records, as the store may get
them when the queue is over.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from crywatch.core import gate
from crywatch.core.digest import value_sha256
from crywatch.tracking import parent
from crywatch.tracking.lineage import Commit
from crywatch.tracking.parent import Rebuild
from crywatch.tracking.store import Store, alone, home, tagged

if TYPE_CHECKING:
    from mlflow.entities import Run
    from pandas import DataFrame

SWEEP = "crywatch.sweep"  # name, of a sweep and of its rebuilds
QUEUE = "crywatch.queue"  # which project and baseline
CHANGED = "crywatch.changed"  # JSON, of a rebuild: parameters that differ from the commit's
WORKERS = "crywatch.workers"  # processes, separated by blanks
STAGE = "sweep"  # where a stage's run has its name
TABLE = "tables/sweep.csv"
LOCK = "sweeps.lock"  # may be taken within that of a rebuild

WORKER = "queue-worker"  # as DVC calls it: `dvc exp queue-worker NODE`
MAX_METRICS = 6  # columns of the description; the table has all


@dataclass(frozen=True)
class Row:
    """One rebuild of a sweep."""

    run_id: str
    name: str  # of the experiment, or of the run
    status: str
    overrides: dict[str, str] = field(default_factory=dict)  # dotted name to value
    metrics: dict[str, float] = field(default_factory=dict)


def facts(profile: str, commit: Commit, rebuild: Rebuild) -> dict[str, Any]:
    """What a stage knows of its queue, without secrets; empty outside of one."""
    worker = _worker()
    if worker is None:
        return {}
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or commit.sha
    return {
        "worker": worker.text,
        "queue": value_sha256([socket.gethostname(), str(home()), baseline])[:16],
        "tags": parent.common_tags(profile, commit) | {"dvc.exp": ""},
        "changed": {name: now for name, (_, now) in rebuild.uncommitted.items()},
        "committed": {name: before for name, (before, _) in rebuild.uncommitted.items()},
    }


def tags(store: Store, facts: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a new rebuild: the sweep that it belongs to by its `facts`, made if need be."""
    settle(store)
    if not facts:
        return {}
    with alone(LOCK):
        sweep_id = _find(store, facts["queue"]) or _create(store, facts)
        store.client.update_run(sweep_id, status="RUNNING")
        known = store.client.get_run(sweep_id)
        workers = known.data.tags.get(WORKERS, "").split()
        if facts["worker"] not in workers:
            store.client.set_tag(sweep_id, WORKERS, " ".join([*workers, facts["worker"]]))
        parent.log_params(store, known, facts["committed"])
    changed = json.dumps(facts["changed"])
    return {SWEEP: known.data.tags[SWEEP], parent.PARENT: sweep_id, CHANGED: changed}


def update(store: Store, rebuild_id: str) -> None:
    """Bring the sweep of a rebuild, if it has one, up to date with all of its rebuilds."""
    sweep_id = store.client.get_run(rebuild_id).data.tags.get(parent.PARENT)
    if sweep_id:
        with alone(LOCK):
            _refresh(store, sweep_id)


def settle(store: Store) -> None:
    """End the sweeps that seem to run, though all of their rebuilds have ended or were killed."""
    unfinished = list(
        store.runs(f"attributes.status = 'RUNNING' and {tagged(parent.STAGE, STAGE)}")
    )
    if unfinished:
        with alone(LOCK):
            for run in unfinished:
                _refresh(store, run.info.run_id)


def rows(store: Store, sweep_id: str) -> list[Row]:
    """Rebuilds of a sweep, the first begun first; each with all parameters that any changed."""
    runs = _rebuilds(store, sweep_id)
    baseline = store.client.get_run(sweep_id).data.params
    changed = {run.info.run_id: _changed(run) for run in runs}
    names = sorted({name for values in changed.values() for name in values})
    return [
        Row(
            run.info.run_id,
            run.data.tags.get("dvc.exp") or run.info.run_name or run.info.run_id,
            run.info.status,
            {name: changed[run.info.run_id].get(name, baseline.get(name, "")) for name in names},
            {k: v for k, v in run.data.metrics.items() if k not in parent.COUNTS},
        )
        for run in runs
    ]


def _changed(run: Run) -> dict[str, str]:
    """What a rebuild had other than the commit; GateError where the tag is odd."""
    text = run.data.tags.get(CHANGED, "{}")
    return gate.parsed(dict[str, str], text, f"run {run.info.run_id}: tag {CHANGED}")


def table(rows: list[Row]) -> DataFrame:
    """One line a rebuild: what it is, the parameters that any changed, all metrics."""
    import pandas as pd

    about = [{"experiment": row.name, "status": row.status, "run_id": row.run_id} for row in rows]
    metrics = pd.DataFrame([row.metrics for row in rows]).sort_index(axis=1)
    parts = [pd.DataFrame(about), pd.DataFrame([row.overrides for row in rows]), metrics]
    return pd.concat(parts, axis=1)


def markdown(rows: list[Row]) -> str:
    """The table with a few metrics, for the run's description."""
    names = sorted({name for row in rows for name in row.metrics})[:MAX_METRICS]
    lines = [["experiment", "status", *(rows[0].overrides if rows else []), *names]]
    lines += [["---"] * len(lines[0])]
    for row in rows:
        values = [f"{row.metrics[n]:.6g}" if n in row.metrics else "" for n in names]
        lines.append([row.name, row.status.lower(), *row.overrides.values(), *values])
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in x) + " |" for x in lines)


def _refresh(store: Store, sweep_id: str) -> None:
    rebuilds = rows(store, sweep_id)
    store.client.set_tag(sweep_id, "mlflow.note.content", markdown(rebuilds))
    store.client.log_text(sweep_id, table(rebuilds).to_csv(index=False), TABLE)
    status = parent.worst(row.status for row in rebuilds)
    if status:
        ends_ms = [run.info.end_time for run in _rebuilds(store, sweep_id) if run.info.end_time]
        store.client.set_terminated(sweep_id, status, max(ends_ms, default=None))


def _rebuilds(store: Store, sweep_id: str) -> list[Run]:
    return list(store.runs(tagged(parent.PARENT, sweep_id), oldest_first=True))


def _worker() -> parent.Process | None:
    """The worker of DVC's queue above this process."""
    for ancestor in psutil.Process().parents():
        try:
            if WORKER in ancestor.cmdline():
                return parent.Process(ancestor.pid, ancestor.create_time())
        except psutil.Error:
            continue
    return None


def _find(store: Store, queue: str) -> str:
    """Run id of the queue's latest sweep if one of its workers lives, or empty."""
    latest = next(store.runs(tagged(QUEUE, queue)), None)
    if latest is not None:
        workers = latest.data.tags.get(WORKERS, "").split()
        if any(parent.Process.parse(text).alive() for text in workers):
            return latest.info.run_id
    return ""


def _create(store: Store, facts: Mapping[str, Any]) -> str:
    commit = facts["tags"].get("git.commit", "")[:7]
    name = f"queue-{commit}-{time.strftime('%Y%m%d-%H%M%S')}"
    own = {
        parent.STAGE: STAGE,
        "mlflow.source.name": "dvc queue start",
        QUEUE: facts["queue"],
        SWEEP: name,
        WORKERS: facts["worker"],  # with it: a kill must not leave a sweep that nobody finds
    }
    run = store.client.create_run(
        store.experiment_id, run_name=f"sweep {name}", tags=facts["tags"] | own
    )
    return run.info.run_id
