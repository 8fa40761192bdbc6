"""The parent of a sweep: rebuilds of one `dvc queue start` or `crywatch sweep` hang under one run.

Which sweep a rebuild belongs to is told by CRYWATCH_SWEEP in the environment, which wins, or by the
worker of DVC's queue above it: experiments of one baseline are one sweep as long as one of the
workers that ran them lives. The parent shows a table of what differed and what came of it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from crywatch.core import git, params
from crywatch.core.digest import value_sha256
from crywatch.core.redact import HIDDEN, found_in
from crywatch.tracking import lineage, parent
from crywatch.tracking.lineage import Commit, YamlLoader
from crywatch.tracking.store import Store, home

VARIABLE = "CRYWATCH_SWEEP"
SWEEP = "crywatch.sweep"  # name, of a sweep and of its rebuilds
QUEUE = "crywatch.queue"  # which project and baseline
CHANGED = "crywatch.changed"  # JSON, of a rebuild: parameters that differ from the commit's
REPRODUCES = "crywatch.reproduces"  # version, of a rebuild by `crywatch reproduce`
REPRODUCES_VARIABLE = "CRYWATCH_REPRODUCES"
FACTS = "CRYWATCH_SWEEP_FACTS"  # JSON, beside the variables that `here` tells
WORKERS = "crywatch.workers"  # processes, separated by blanks
STAGE = "sweep"  # where a stage's run has its name
TABLE = "tables/sweep.csv"
OBJECTIVE = "objective"
OWN = "sweep."  # parameters that say how to sweep, not what is made

WORKER = "queue-worker"  # as DVC calls it: `dvc exp queue-worker NODE`
COUNTS = frozenset({"n_stages", "n_skipped", "duration_s"})  # of a rebuild, not of what it made
MAX_VALUE = 500  # characters of a parameter
MAX_METRICS = 6  # columns of the description; the table has all
MAX_RUNS = 1000


@dataclass(frozen=True)
class Row:
    """One rebuild of a sweep."""

    run_id: str
    name: str  # of the experiment, or of the run
    status: str
    overrides: dict[str, str] = field(default_factory=dict)  # dotted name to value
    metrics: dict[str, float] = field(default_factory=dict)


def is_secret(name: str, value: Any) -> bool:
    """Whether a parameter looks like one that belongs into the environment."""
    return any(found_in({name: str(value)}))


def here(profile: str, commit: Commit) -> dict[str, str]:
    """What a stage can tell of its sweep, for `tags`, which may be called when it is over.

    Empty outside of a sweep.
    """
    name, worker = os.environ.get(VARIABLE, ""), _worker()
    told = {k: os.environ[k] for k in (VARIABLE, REPRODUCES_VARIABLE) if os.environ.get(k)}
    if not name and worker is None:
        return told
    changed, committed = _differences()
    facts = {
        "worker": worker.text if worker else "",
        "queue": _queue(commit),
        "tags": parent.common_tags(profile, commit) | {"dvc.exp": ""},
        "changed": _shown(changed),  # before anything is written down
        "committed": _shown(committed),
    }
    return told | {FACTS: json.dumps(facts)}


def tags(store: Store, told: Mapping[str, str]) -> dict[str, str]:
    """Of a new rebuild, by what `here` told: the sweep that it belongs to, made if need be."""
    made = {}
    if told.get(REPRODUCES_VARIABLE):
        made[REPRODUCES] = told[REPRODUCES_VARIABLE]
    name, facts = told.get(VARIABLE, ""), json.loads(told.get(FACTS, "{}"))
    settle(store)
    worker = facts.get("worker", "")
    if not name and not worker:
        return made
    with _alone():
        sweep_id = find(store, name) if name else _find_queue(store, facts["queue"])
        sweep_id = sweep_id or _create(store, name, facts)
        store.client.update_run(sweep_id, status="RUNNING")
        known = store.client.get_run(sweep_id).data
        if worker and worker not in known.tags.get(WORKERS, "").split():
            store.client.set_tag(sweep_id, WORKERS, f"{known.tags.get(WORKERS, '')} {worker}")
        committed = facts.get("committed", {})
        _log_params(store, sweep_id, {k: v for k, v in committed.items() if k not in known.params})
    changed = json.dumps(facts.get("changed", {}))
    return made | {SWEEP: known.tags[SWEEP], parent.PARENT: sweep_id, CHANGED: changed}


def update(store: Store, rebuild_id: str) -> None:
    """Bring the sweep of a rebuild, if it has one, up to date with all of its rebuilds.

    The rebuild's run gets what differs from the committed params.yaml as parameters.
    """
    data = store.client.get_run(rebuild_id).data
    sweep_id = data.tags.get(parent.PARENT)
    if not sweep_id:
        return
    changed = json.loads(data.tags.get(CHANGED, "{}"))
    _log_params(store, rebuild_id, {k: v for k, v in changed.items() if k not in data.params})
    with _alone():
        _refresh(store, sweep_id)


def settle(store: Store) -> None:
    """Sweeps that seem to run, though all of their rebuilds have ended or were killed, have not."""
    running = store.client.search_runs(
        [store.experiment_id],
        f"attributes.status = 'RUNNING' and tags.`{parent.STAGE}` = '{STAGE}'",
        max_results=100,
    )
    if running:
        with _alone():
            for run in running:
                _refresh(store, run.info.run_id)


def find(store: Store, name: str) -> str | None:
    """Run id of the sweep with a name; None without one."""
    quoted = name.replace("'", "")
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{SWEEP}` = '{quoted}' and tags.`{parent.STAGE}` = '{STAGE}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0].info.run_id if found else None


def conclude(
    store: Store, name: str, experiment: str, overrides: Mapping[str, str], objective: float | None
) -> None:
    """The objective of an experiment that `crywatch sweep` ran, and its row where it had no run.

    It has none if DVC found all of its stages made before.
    """
    from mlflow.entities import Metric

    sweep_id = find(store, name)
    if sweep_id is None:
        profile = str(params.plain().get("profile", ""))
        with _alone():
            common = {"tags": parent.common_tags(profile, lineage.commit())}
            sweep_id = find(store, name) or _create(store, name, common)
    runs = [r for r in _rebuilds(store, sweep_id) if r.data.tags.get("dvc.exp") == experiment]
    if runs:
        run_id = runs[-1].info.run_id  # the latest, of a sweep that was repeated
    else:
        run = store.client.create_run(
            store.experiment_id,
            run_name=f"rebuild {experiment} (skipped)",
            tags={
                parent.PARENT: sweep_id,
                parent.STAGE: "rebuild",
                SWEEP: name,
                "dvc.exp": experiment,
                "mlflow.note.content": "DVC found all stages made before: `crywatch runs "
                f"{experiment}` names the runs that made them.",
            },
        )
        run_id = run.info.run_id
        _log_params(store, run_id, dict(overrides))
        store.client.set_terminated(run_id, "FINISHED")
    if objective is not None:
        now_ms = int(time.time() * 1000)
        store.client.log_batch(run_id, metrics=[Metric(OBJECTIVE, objective, now_ms, 0)])
    with _alone():
        _refresh(store, sweep_id)


def rows(store: Store, sweep_id: str) -> list[Row]:
    """Rebuilds of a sweep, the first begun first; each with all parameters that any changed."""
    runs = _rebuilds(store, sweep_id)
    committed = store.client.get_run(sweep_id).data.params
    varied = sorted({n for run in runs for n in run.data.params if not n.startswith(OWN)})
    return [
        Row(
            run.info.run_id,
            run.data.tags.get("dvc.exp") or run.info.run_name or run.info.run_id,
            run.info.status,
            {name: run.data.params.get(name, committed.get(name, "")) for name in varied},
            {k: v for k, v in run.data.metrics.items() if k not in COUNTS},
        )
        for run in runs
    ]


def as_csv(table: list[Row]) -> str:
    """A sweep's table, with all metrics."""
    out = io.StringIO()
    names = sorted({name for row in table for name in row.metrics})
    varied = list(table[0].overrides) if table else []
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["experiment", "status", "run_id", *varied, *names])
    for row in table:
        values = [row.metrics.get(name, "") for name in names]
        writer.writerow([row.name, row.status, row.run_id, *row.overrides.values(), *values])
    return out.getvalue()


def as_markdown(table: list[Row]) -> str:
    """A sweep's table with the objective and a few metrics."""
    names = sorted({n for row in table for n in row.metrics}, key=lambda n: (n != OBJECTIVE, n))
    names = names[:MAX_METRICS]
    varied = list(table[0].overrides) if table else []
    lines = [["experiment", "status", *varied, *names]]
    lines += [["---"] * len(lines[0])]
    for row in table:
        values = [f"{row.metrics[n]:.6g}" if n in row.metrics else "" for n in names]
        lines.append([row.name, row.status.lower(), *row.overrides.values(), *values])
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in x) + " |" for x in lines)


def _refresh(store: Store, sweep_id: str) -> None:
    runs = _rebuilds(store, sweep_id)
    table = rows(store, sweep_id)
    store.client.set_tag(sweep_id, "mlflow.note.content", as_markdown(table))
    store.client.log_text(sweep_id, as_csv(table), TABLE)
    ended = [row.status for row in table]
    if "RUNNING" not in ended:
        status = next((status for status in parent.WORST_FIRST if status in ended), "FINISHED")
        ends_ms = [run.info.end_time for run in runs if run.info.end_time]
        store.client.set_terminated(sweep_id, status, max(ends_ms, default=None))


def _rebuilds(store: Store, sweep_id: str) -> list:
    return list(
        store.client.search_runs(
            [store.experiment_id],
            f"tags.`{parent.PARENT}` = '{sweep_id}'",
            order_by=["attributes.start_time ASC"],
            max_results=MAX_RUNS,
        )
    )


def _worker() -> parent.Process | None:
    """The worker of DVC's queue above this process."""
    for ancestor in psutil.Process().parents():
        try:
            if WORKER in ancestor.cmdline():
                return parent.Process(ancestor.pid, ancestor.create_time())
        except psutil.Error:
            continue
    return None


def _find_queue(store: Store, queue: str) -> str | None:
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{QUEUE}` = '{queue}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if found:
        workers = found[0].data.tags.get(WORKERS, "").split()
        if any(parent.Process.parse(text).alive() for text in workers):
            return found[0].info.run_id
    return None


def _queue(commit: Commit) -> str:
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or commit.sha
    return value_sha256([socket.gethostname(), str(home()), baseline])[:16]


def _create(store: Store, name: str, facts: Mapping[str, Any]) -> str:
    made = {**facts.get("tags", {}), parent.STAGE: STAGE, "mlflow.source.name": "crywatch sweep"}
    if not name:
        commit = made.get("git.commit", "")[:7]
        name = f"queue-{commit}-{time.strftime('%Y%m%d-%H%M%S')}"
        made |= {QUEUE: facts["queue"], "mlflow.source.name": "dvc queue start"}
    run = store.client.create_run(
        store.experiment_id, run_name=f"sweep {name}", tags=made | {SWEEP: name}
    )
    return run.info.run_id


def _shown(values: Mapping[str, str]) -> dict[str, str]:
    return {k: HIDDEN if is_secret(k, v) else v for k, v in sorted(values.items())}


def _log_params(store: Store, run_id: str, values: dict[str, str]) -> None:
    from mlflow.entities import Param

    if values:
        kept = [Param(k, v) for k, v in _shown(values).items()]
        store.client.log_batch(run_id, params=kept)


def _differences() -> tuple[dict[str, str], dict[str, str]]:
    """What params.yaml has other than the commit: its values, and the commit's."""
    shown = git.run(Path.cwd(), "show", f"HEAD:./{params.PARAMS_FILE}")
    if shown.returncode:
        return {}, {}
    try:
        before = dict(_flat(yaml.load(shown.stdout, YamlLoader) or {}))
    except yaml.YAMLError:
        return {}, {}
    now = dict(_flat(params.plain()))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    gone = "(none)"
    return (
        {name: now.get(name, gone) for name in names},
        {name: before.get(name, gone) for name in names},
    )


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)[:MAX_VALUE]


def _alone() -> AbstractContextManager[None]:
    return parent.alone("sweeps.lock")  # within that of a rebuild
