"""The parent run of a rebuild: one `dvc repro` is one process, and its stages are its children."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from crywatch.core.digest import value_sha256
from crywatch.tracking import describe, journal
from crywatch.tracking.lineage import Commit
from crywatch.tracking.store import Store, alone, tagged

if TYPE_CHECKING:
    from mlflow.entities import Run

REBUILD = "crywatch.rebuild"
PROCESS = "crywatch.process"
HOST = "crywatch.host"
PARENT = "mlflow.parentRunId"
SKIPPED = "crywatch.skipped"
COUNTS = frozenset({"n_stages", "n_skipped", "duration_s"})  # of a rebuild, not of what it made
OUTPUTS_FROM = "crywatch.outputs_from"  # of a skipped stage: the run that made them
OUTS = "crywatch.outs"
STAGE = "crywatch.stage"
RUN = "crywatch.run"  # of a stage: found by it again, whatever became of the request that made it

REPRODUCES = "crywatch.reproduces"  # the version that `crywatch reproduce` makes again
REPRODUCES_VARIABLE = "CRYWATCH_REPRODUCES"  # of the environment: that version

PROCESS_TEXT = re.compile(r"([0-9]{1,9}):([0-9]{1,12}(?:\.[0-9]{1,9})?)")
COMMANDS = frozenset({"crywatch", "crywatch.cli"})
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
        """From a tag; one that names none gives a process that is gone."""
        match = PROCESS_TEXT.fullmatch(text)
        return cls(int(match[1]), float(match[2])) if match else cls(-1, 0.0)

    def alive(self) -> bool:
        """Whether it still runs on this machine."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created_s) < 1.0
        except (psutil.Error, ValueError):  # no number of a process
            return False


def this_process() -> Process:
    """The running script."""
    return Process(os.getpid(), psutil.Process().create_time())


def is_dvc(command: Sequence[str]) -> bool:
    """Whether a command line is DVC's, which is also that of `crywatch repro`."""
    names = {Path(word).name for word in command[:4]}
    return "dvc" in names or ("repro" in names and not names.isdisjoint(COMMANDS))


def rebuild_process() -> Process:
    """The `dvc` process above this one; outside DVC the script itself."""
    for ancestor in psutil.Process().parents():
        try:
            by_dvc = is_dvc(ancestor.cmdline())
        except psutil.Error:
            continue
        if by_dvc:
            return Process(ancestor.pid, ancestor.create_time())
    return this_process()


def common_tags(profile: str, commit: Commit) -> dict[str, str]:
    """What the runs of stages and of rebuilds share; `mlflow.source` fills columns of the UI."""
    version = os.environ.get(REPRODUCES_VARIABLE)
    return ({REPRODUCES: version} if version else {}) | {
        HOST: socket.gethostname(),
        "profile": profile,
        "git.commit": commit.sha,
        "git.dirty": str(commit.dirty).lower(),
        "dvc.exp": os.environ.get("DVC_EXP_NAME", ""),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.git.commit": commit.sha,
    }


@dataclass(frozen=True)
class Rebuild:
    """All that is needed to make a parent, also after its `dvc repro` is over."""

    id: str
    name: str  # the words of `describe.name`
    started_ms: int  # of its first stage, since the epoch
    tags: dict[str, str]
    queue: dict[str, Any] = field(default_factory=dict)  # `sweeps.facts`
    params: dict[str, str] = field(default_factory=dict)  # all of params.yaml
    uncommitted: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, record: dict[str, Any]) -> Rebuild:
        """From a journal, which an earlier version may have written."""
        known = {known_field.name for known_field in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


def this_rebuild(profile: str, commit: Commit, started_ms: int) -> Rebuild:
    """The rebuild of the running stage."""
    process = rebuild_process()
    by_dvc = process != this_process()
    rebuild = value_sha256([socket.gethostname(), str(Path.cwd()), process.text])[:16]
    words = (
        "" if by_dvc else "manual",
        os.environ.get("DVC_EXP_NAME", ""),
        profile,
        commit.sha[:7] + ("+" if commit.dirty else ""),
    )
    tags = common_tags(profile, commit) | {
        REBUILD: rebuild,
        PROCESS: process.text,
        STAGE: "rebuild",
        "mlflow.source.name": "dvc repro" if by_dvc else sys.argv[0],
    }
    values = describe.here()
    changed = describe.uncommitted(values)
    name = " ".join(filter(None, words))
    return Rebuild(rebuild, name, started_ms, tags, params=values, uncommitted=changed)


def find_or_create(
    store: Store, rebuild: Rebuild, more_tags: Callable[[], dict[str, str]] = dict
) -> str:
    """Run id of a rebuild's parent, set to RUNNING; a new one gets ``more_tags`` too."""
    with alone():
        run = only(store, REBUILD, rebuild.id)
        if run is None:
            before = _before(store, rebuild)
            known = before.data.params if before is not None else {}
            changed = describe.changes(known, rebuild.params) if known else {}
            # What is new in it first: much may differ from the commit since long.
            latest_first = sorted(
                rebuild.uncommitted.items(), key=lambda one: one[0] not in changed
            )
            named = dict(latest_first) or changed
            tags = rebuild.tags | more_tags()
            if known:
                tags[describe.CHANGED] = describe.changed_line(changed)
            if before is not None:
                tags[describe.BEFORE] = before.info.run_id
            run = store.client.create_run(
                store.experiment_id,
                start_time=rebuild.started_ms,
                run_name=describe.name([rebuild.name], named, rebuild.started_ms),
                tags=tags,
            )
        log_params(store, run, rebuild.params)
        store.client.update_run(run.info.run_id, status="RUNNING")
    return run.info.run_id


def _before(store: Store, rebuild: Rebuild) -> Run | None:
    """The rebuild of the same profile that was begun before this one."""
    profile = rebuild.tags.get("profile", "")
    earlier = f"attributes.start_time < {rebuild.started_ms} and {tagged(STAGE, 'rebuild')}"
    return next(store.runs(f"{earlier} and {tagged('profile', profile)}", page=1), None)


def log_params(store: Store, run: Run, values: Mapping[str, str]) -> None:
    """Parameters of a run that it does not have yet."""
    from mlflow.entities import Param

    missing = [Param(k, v) for k, v in values.items() if k not in run.data.params]
    if missing:
        store.client.log_batch(run.info.run_id, params=missing)


def find_only(store: Store, tag: str, value: str, known: str = "") -> str:
    """Run id by a tag that one run may have, as `only` finds it; empty without one."""
    run = only(store, tag, value, known)
    return "" if run is None else run.info.run_id


def only(store: Store, tag: str, value: str, known: str = "") -> Run | None:
    """The run of a tag that one run may have; None without one.

    A second one, made because the answer to the first request was lost, is deleted: the one that
    has less on it, and not the ``known`` one.
    """
    runs = list(store.runs(tagged(tag, value)))
    if len(runs) > 1:
        runs = sorted(
            runs,
            key=lambda run: (
                run.info.run_id != known,
                -len(children(store, run.info.run_id)),
                -len(run.data.metrics) - len(run.data.params) - len(run.data.tags),
                run.info.run_id,
            ),
        )
        for surplus in runs[1:]:
            store.client.delete_run(surplus.info.run_id)
    return runs[0] if runs else None


@contextmanager
def command_run(store: Store, name: str, tags: dict[str, str]) -> Iterator[str]:
    """A run of a command that writes to the store at once; it ends with the block."""
    own = {HOST: socket.gethostname(), PROCESS: this_process().text}
    run = store.client.create_run(store.experiment_id, run_name=name, tags=own | tags)
    status = "FAILED"
    try:
        yield run.info.run_id
        status = "FINISHED"
    finally:
        store.client.set_terminated(run.info.run_id, status)


def children(store: Store, parent_id: str) -> list[Run]:
    """Runs under a parent."""
    return list(store.runs(tagged(PARENT, parent_id)))


def worst(statuses: Iterable[str]) -> str:
    """How several runs ended together; empty while one of them is RUNNING."""
    ends = set(statuses)
    if "RUNNING" in ends:
        return ""
    return next((status for status in WORST_FIRST if status in ends), "FINISHED")


def update(store: Store, parent_id: str, now_ms: int) -> None:
    """Bring a parent up to date with its stages: their number, the time so far, the worst end.

    It stays RUNNING while one of them is. Said again, it adds nothing.
    """
    from mlflow.entities import Metric

    runs_under = children(store, parent_id)
    run = store.client.get_run(parent_id)
    stages = [child.info for child in runs_under if SKIPPED not in child.data.tags]
    ends_ms = [info.end_time or now_ms for info in stages]
    last_ms = max([*ends_ms, run.info.start_time])
    values = {
        "n_stages": float(sum(info.status != "RUNNING" for info in stages)),
        "n_skipped": float(len(runs_under) - len(stages)),
        "duration_s": (last_ms - run.info.start_time) / 1000,
    }
    # MLflow shows the number with the latest time, and a clock may have gone back.
    stamp_ms = max([last_ms, *(metric.timestamp + 1 for metric in run.data.to_proto().metrics)])
    changed = {k: v for k, v in values.items() if run.data.metrics.get(k) != v}
    if changed:
        store.client.log_batch(
            parent_id, metrics=[Metric(k, v, stamp_ms, 0) for k, v in changed.items()]
        )
    sources = {
        child.data.tags.get(STAGE, ""): child.data.tags.get(OUTPUTS_FROM, child.info.run_id)
        for child in runs_under
    }
    text = describe.note(run, store.run(run.data.tags.get(describe.BEFORE, "")), sources)
    if text != run.data.tags.get(describe.NOTE):
        store.client.set_tag(parent_id, describe.NOTE, text)
    if status := worst(info.status for info in stages):
        store.client.set_terminated(parent_id, status, last_ms)


def mark_killed(store: Store) -> None:
    """Runs of this machine that are still RUNNING and whose process is gone were killed.

    Not those that the spool holds something of: how they ended is in there.
    """
    unfinished = list(
        store.runs(f"attributes.status = 'RUNNING' and {tagged(HOST, socket.gethostname())}")
    )
    heads = journal.heads()
    in_spool = {head.get("key") for head in heads}
    in_spool |= {head.get("rebuild", {}).get("id") for head in heads}
    for run in unfinished:
        text = run.data.tags.get(PROCESS)
        here = {run.data.tags.get(RUN, ""), run.data.tags.get(REBUILD, "")} & in_spool
        if text and not here and not Process.parse(text).alive():
            store.client.set_terminated(run.info.run_id, "KILLED")


def note_skipped(store: Store, parent_id: str, outs: dict[str, str], at_ms: int) -> None:
    """Leave a note under the parent for each stage that DVC skipped in this rebuild.

    It names the earlier run that made the outputs which dvc.lock listed for that stage: ``outs`` is
    stage to `lineage.outs_digest`. A stage that ran has a run, in the store or still in the spool.
    """
    with alone():
        rebuild_id = store.client.get_run(parent_id).data.tags.get(REBUILD)
        runs_under = children(store, parent_id)
        for run in runs_under:  # made, and the answer was lost
            if SKIPPED in run.data.tags and run.info.status == "RUNNING":
                store.client.set_terminated(run.info.run_id, end_time=at_ms)
        known = {run.data.tags.get(STAGE) for run in runs_under}
        of_this = [h for h in journal.heads() if h.get("rebuild", {}).get("id") == rebuild_id]
        known |= {head["name"] for head in of_this}
        for name, digest in outs.items():
            if name in known:
                continue
            original = maker(store, name, digest)
            source = "" if original is None else original.info.run_id
            if original is not None:
                _repeat_headline(store, original, parent_id, at_ms)
            origin = f"run {source}" if source else "a run that is not in this store"
            note = store.client.create_run(
                store.experiment_id,
                start_time=at_ms,
                run_name=f"{name} (skipped)",
                tags={
                    PARENT: parent_id,
                    STAGE: name,
                    SKIPPED: "true",
                    "stage": name.partition("@")[0],
                    OUTPUTS_FROM: source,
                    "mlflow.note.content": "DVC skipped this stage: its outputs came from "
                    f"{origin}.",
                },
            )
            store.client.set_terminated(note.info.run_id, end_time=at_ms)


def _repeat_headline(store: Store, original: Run, parent_id: str, at_ms: int) -> None:
    """Give a parent what the run of a skipped stage gave its own: the numbers are its outputs'."""
    from mlflow.entities import Metric

    shown = store.run(original.data.tags.get(PARENT, ""))
    names = original.data.metrics.keys() & (shown.data.metrics.keys() if shown else set()) - COUNTS
    points = [Metric(name, original.data.metrics[name], at_ms, 0) for name in sorted(names)]
    if points:
        store.client.log_batch(parent_id, metrics=points)


def maker(store: Store, stage: str, outs: str) -> Run | None:
    """The last run of a stage that ended well with these outputs; None without one.

    ``outs`` is their `lineage.outs_digest`.
    """
    ended_well = f"attributes.status = 'FINISHED' and {tagged(STAGE, stage)}"
    return next(store.runs(f"{ended_well} and {tagged(OUTS, outs)}"), None)
