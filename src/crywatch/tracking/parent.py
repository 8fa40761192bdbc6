"""The parent run of a rebuild: one `dvc repro` is one process, and its stages are its children."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from crywatch.tracking import lineage
from crywatch.tracking.store import Store

REBUILD = "crywatch.rebuild"
PROCESS = "crywatch.process"
PARENT = "mlflow.parentRunId"
SKIPPED = "crywatch.skipped"
OUTS = "crywatch.outs"
STAGE = "crywatch.stage"


@dataclass(frozen=True)
class Process:
    """A process that cannot be taken for a later one with the same number."""

    pid: int
    created_s: float  # since the epoch

    @property
    def text(self) -> str:
        """For a tag."""
        return f"{self.pid}:{self.created_s:.2f}"

    @classmethod
    def parse(cls, text: str) -> Process:
        """From a tag."""
        pid, created_s = text.split(":")
        return cls(int(pid), float(created_s))

    def alive(self) -> bool:
        """Whether it still runs on this machine."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created_s) < 1.0
        except psutil.Error:
            return False


def this_process() -> Process:
    """The running script."""
    return Process(os.getpid(), psutil.Process().create_time())


def rebuild_process() -> Process:
    """The `dvc` process above this one; outside DVC the script itself."""
    for ancestor in psutil.Process().parents():
        try:
            words = [Path(word).name for word in ancestor.cmdline()[:4]]
        except psutil.Error:
            continue
        if "dvc" in words:
            return Process(ancestor.pid, ancestor.create_time())
    return this_process()


def find_or_create(store: Store, profile: str) -> str:
    """Run id of this rebuild's parent, set to RUNNING."""
    process = rebuild_process()
    rebuild = hashlib.sha256(f"{Path.cwd()}|{process.text}".encode()).hexdigest()[:16]
    found = store.client.search_runs(
        [store.experiment_id], f"tags.`{REBUILD}` = '{rebuild}'", max_results=1
    )
    if found:
        run_id = found[0].info.run_id
    else:
        commit = lineage.commit()
        run = store.client.create_run(
            store.experiment_id,
            run_name=f"rebuild {profile} {commit.sha[:7]}".strip(),
            tags={
                REBUILD: rebuild,
                PROCESS: process.text,
                "profile": profile,
                "git.commit": commit.sha,
                "git.dirty": str(commit.dirty).lower(),
                "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
                STAGE: "rebuild",
            },
        )
        run_id = run.info.run_id
    store.client.update_run(run_id, status="RUNNING")
    return run_id


def children(store: Store, parent_id: str) -> list:
    """Runs under a parent."""
    return list(
        store.client.search_runs(
            [store.experiment_id], f"tags.`{PARENT}` = '{parent_id}'", max_results=1000
        )
    )


def mark_killed(store: Store) -> None:
    """Runs still RUNNING whose process is gone were killed."""
    running = store.client.search_runs(
        [store.experiment_id], "attributes.status = 'RUNNING'", max_results=200
    )
    for run in running:
        text = run.data.tags.get(PROCESS)
        if text and not Process.parse(text).alive():
            store.client.set_terminated(run.info.run_id, "KILLED")


def note_skipped(store: Store, parent_id: str, stage: str) -> None:
    """A note under the parent for each upstream stage that DVC skipped in this rebuild.

    It names the earlier run that made the outputs which dvc.lock lists for the stage.
    """
    stages = lineage.lock_stages()
    known = {run.data.tags.get(STAGE) for run in children(store, parent_id)}
    for name in lineage.upstream(stage, stages):
        if name in known:
            continue
        digest = lineage.outs_digest(lineage.lock_outs(stages[name]))
        earlier = store.client.search_runs(
            [store.experiment_id],
            f"tags.`{STAGE}` = '{name}' and tags.`{OUTS}` = '{digest}'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        source = earlier[0].info.run_id if earlier else ""
        said = f"run {source}" if source else "a run that is not in this store"
        note = store.client.create_run(
            store.experiment_id,
            run_name=f"{name} (skipped)",
            tags={
                PARENT: parent_id,
                STAGE: name,
                SKIPPED: "true",
                "crywatch.outputs_from": source,
                "mlflow.note.content": f"DVC skipped this stage: its outputs came from {said}.",
            },
        )
        store.client.set_terminated(note.info.run_id)
