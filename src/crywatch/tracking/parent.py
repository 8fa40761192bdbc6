"""The parent run of a rebuild: one `dvc repro` is one process, and its stages are its children."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from crywatch import paths
from crywatch.digest import value_sha256
from crywatch.tracking import lineage
from crywatch.tracking.lineage import Commit, Entry
from crywatch.tracking.store import Store

REBUILD = "crywatch.rebuild"
PROCESS = "crywatch.process"
HOST = "crywatch.host"
PARENT = "mlflow.parentRunId"
SKIPPED = "crywatch.skipped"
OUTS = "crywatch.outs"
STAGE = "crywatch.stage"

LOCK = paths.WORK / "tracking.lock"
LOCK_WAIT_S, LOCK_POLL_S = 10.0, 0.05
WORST_FIRST = ("FAILED", "KILLED", "FINISHED")


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


def common_tags(profile: str, commit: Commit) -> dict[str, str]:
    """What the runs of stages and of rebuilds share; `mlflow.source` fills columns of the UI."""
    return {
        HOST: socket.gethostname(),
        "profile": profile,
        "git.commit": commit.sha,
        "git.dirty": str(commit.dirty).lower(),
        "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.git.commit": commit.sha,
    }


def find_or_create(store: Store, profile: str, commit: Commit | None = None) -> str:
    """Run id of this rebuild's parent, set to RUNNING."""
    process = rebuild_process()
    by_dvc = process != this_process()
    rebuild = value_sha256([socket.gethostname(), str(Path.cwd()), process.text])[:16]
    with _alone():
        found = store.client.search_runs(
            [store.experiment_id], f"tags.`{REBUILD}` = '{rebuild}'", max_results=1
        )
        if found:
            run_id = found[0].info.run_id
        else:
            commit = commit or lineage.commit()
            source = "dvc repro" if by_dvc else sys.argv[0]
            run = store.client.create_run(
                store.experiment_id,
                run_name=" ".join(
                    word
                    for word in (
                        "rebuild" if by_dvc else "manual",
                        os.environ.get("DVC_EXP_NAME", ""),
                        profile,
                        commit.sha[:7],
                    )
                    if word
                ),
                tags=common_tags(profile, commit)
                | {
                    REBUILD: rebuild,
                    PROCESS: process.text,
                    STAGE: "rebuild",
                    "mlflow.source.name": source,
                },
            )
            run_id = run.info.run_id
        store.client.update_run(run_id, status="RUNNING")
    return run_id


@contextmanager
def _alone() -> Iterator[None]:
    """Stages of this project take turns; one that hangs is not waited for any longer."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    until_s = time.monotonic() + LOCK_WAIT_S
    with open(LOCK, "a") as handle:  # closing it frees the lock
        while time.monotonic() < until_s:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_POLL_S)
        yield


def children(store: Store, parent_id: str) -> list:
    """Runs under a parent."""
    return list(
        store.client.search_runs(
            [store.experiment_id], f"tags.`{PARENT}` = '{parent_id}'", max_results=1000
        )
    )


def update(store: Store, parent_id: str) -> None:
    """Bring a parent up to date with its stages: their number, the time so far, the worst end.

    It stays RUNNING while one of them is.
    """
    from mlflow.entities import Metric

    under = children(store, parent_id)
    ran = [run.info.status for run in under if SKIPPED not in run.data.tags]
    now_ms = int(time.time() * 1000)
    values = {
        "n_stages": sum(status != "RUNNING" for status in ran),
        "n_skipped": len(under) - len(ran),
        "duration_s": (now_ms - store.client.get_run(parent_id).info.start_time) / 1000,
    }
    store.client.log_batch(
        parent_id, metrics=[Metric(name, value, now_ms, 0) for name, value in values.items()]
    )
    if "RUNNING" not in ran:
        status = next((status for status in WORST_FIRST if status in ran), "FINISHED")
        store.client.set_terminated(parent_id, status)


def mark_killed(store: Store) -> None:
    """Runs of this machine that are still RUNNING and whose process is gone were killed."""
    running = store.client.search_runs(
        [store.experiment_id],
        f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'",
        max_results=200,
    )
    for run in running:
        text = run.data.tags.get(PROCESS)
        if text and not Process.parse(text).alive():
            store.client.set_terminated(run.info.run_id, "KILLED")


def note_skipped(
    store: Store, parent_id: str, stage: str, plan: dict[str, Entry], lock: dict[str, Entry]
) -> None:
    """A note under the parent for each upstream stage that DVC skipped in this rebuild.

    It names the earlier run that made the outputs which dvc.lock lists for that stage. What is
    upstream is read from dvc.yaml, and from dvc.lock for a stage that dvc.yaml lacks.
    """
    known = {run.data.tags.get(STAGE) for run in children(store, parent_id)}
    for name in lineage.upstream(stage, lock | plan):
        if name in known or name not in lock:
            continue
        source = _maker(store, name, lineage.outs_digest(lock[name].outs))
        said = f"run {source}" if source else "a run that is not in this store"
        note = store.client.create_run(
            store.experiment_id,
            run_name=f"{name} (skipped)",
            tags={
                PARENT: parent_id,
                STAGE: name,
                SKIPPED: "true",
                "stage": name.partition("@")[0],
                "crywatch.outputs_from": source,
                "mlflow.note.content": f"DVC skipped this stage: its outputs came from {said}.",
            },
        )
        store.client.set_terminated(note.info.run_id)


def _maker(store: Store, stage: str, outs: str) -> str:
    """Run id of the last run of a stage that ended well with these outputs; empty without one."""
    found = store.client.search_runs(
        [store.experiment_id],
        f"attributes.status = 'FINISHED' and tags.`{STAGE}` = '{stage}' "
        f"and tags.`{OUTS}` = '{outs}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0].info.run_id if found else ""
