"""Runs of MLflow, experiments of DVC and commits of git, found from any one of them.

What ties them is what a stage makes: dvc.lock at a commit holds an entry a stage, and the run that
made it has the digest of that entry as a tag. That holds for an experiment, which gets its commit
after its runs have ended, and for what `dvc exp apply` and `git commit` made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core import git
from crywatch.core.errors import CrywatchError
from crywatch.tracking import lineage, parent, sweeps
from crywatch.tracking.lineage import Entry
from crywatch.tracking.store import Store

ENTRY = "dvc.lock.entry"  # digest, of a stage's run
EXPERIMENT = "dvc.exp"
BASELINE = "git.commit"
REFERENCES = "refs/exps"
RUN_ID = re.compile(r"[0-9a-f]{32}")
SHORT = 7  # characters of a commit
MAX_RUNS = 1000


@dataclass(frozen=True)
class Made:
    """A stage and its run."""

    stage: str
    run_id: str
    status: str


@dataclass(frozen=True)
class Rebuild:
    """One `dvc repro` or `dvc exp run`."""

    run_id: str
    name: str
    status: str
    experiment: str  # name; empty for a plain rebuild
    baseline: str  # commit that was checked out
    commits: tuple[str, ...]  # that hold what it made
    sweep: str  # name, or empty
    stages: tuple[Made, ...]  # of what was asked for, or all of them


@dataclass(frozen=True)
class Ties:
    """All that belongs together."""

    what: str
    kind: str  # run, experiment, commit
    commit: str  # SHA, or empty: no commit is known
    stages: int  # in dvc.lock at that commit
    unknown: tuple[str, ...]  # those of which this store has no run
    rebuilds: tuple[Rebuild, ...]  # the experiment's own, then the latest first


def find(store: Store, project: Path, what: str) -> Ties:
    """What belongs to a run id, the name of an experiment, or a commit.

    Raises
    ------
    CrywatchError
        ``what`` is none of these.
    """
    if RUN_ID.fullmatch(what) and (run := run_or_none(store, what)):
        rebuilds = [
            _rebuild(store, project, top, parent.children(store, top.info.run_id))
            for top in _tops(store, run)
        ]
        commits = [commit for one in rebuilds for commit in one.commits]
        return Ties(what, "run", commits[0] if commits else "", 0, (), tuple(rebuilds))
    if commit := experiment_commit(project, what):
        return _of_commit(store, project, what, "experiment", commit)
    named = _search(store, f"tags.`{EXPERIMENT}` = '{_quoted(what)}'")
    if commit := git.commit(project, what):
        return _of_commit(store, project, what, "commit", commit)
    if named:  # an experiment that was removed
        tops = {run.info.run_id: run for run in named if _is(run, "rebuild")}
        rebuilds = tuple(
            _rebuild(store, project, top, parent.children(store, run_id))
            for run_id, top in tops.items()
        )
        return Ties(what, "experiment", "", 0, (), rebuilds)
    raise CrywatchError(
        f"{what}: no run of this store, no experiment of DVC (`dvc exp list --all`) and no commit"
    )


def makers(store: Store, stages: Mapping[str, Entry]) -> dict[str, list]:
    """Stage to the runs that ended well with that entry of dvc.lock, the latest first."""
    return {
        name: _search(
            store,
            f"tags.`{ENTRY}` = '{lineage.entry_digest(entry)}' and attributes.status = 'FINISHED' "
            f"and tags.`{parent.STAGE}` = '{_quoted(name)}'",
        )
        for name, entry in stages.items()
    }


def locked(project: Path, commit: str) -> dict[str, Entry]:
    """Stages in dvc.lock at a commit; empty without one."""
    return lineage.parse_lock(git.asked(project, "show", f"{commit}:./{lineage.LOCK}"))


def experiment_commit(project: Path, name: str) -> str:
    """SHA of the latest experiment of DVC with that name; empty without one."""
    listed = git.asked(
        project, "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)"
    )
    for line in listed.splitlines():
        sha, _, reference = line.partition(" ")
        # refs/exps/<2 of the baseline>/<38 of it>/<name>
        parts = reference.split("/")
        if reference.startswith(f"{REFERENCES}/") and len(parts) == 5 and parts[4] == name:
            return sha
    return ""


def run_or_none(store: Store, run_id: str) -> Any:
    """A run of MLflow; None where the store does not have it."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def render(ties: Ties) -> str:
    """Lines for a terminal."""
    lines = []
    if ties.commit:
        lines.append(f"{ties.kind} {ties.what}: commit {ties.commit}")
    else:
        lines.append(f"{ties.kind} {ties.what}: no commit holds what it made")
    for one in ties.rebuilds:
        lines.append(f"run {one.run_id}  {one.status.lower()}  {one.name}")
        if one.experiment:
            lines.append(f"  experiment  {one.experiment}")
        if one.sweep:
            lines.append(f"  sweep       {one.sweep}")
        lines.append(f"  baseline    {one.baseline or 'unknown'}")
        lines += [f"  commit      {commit}" for commit in one.commits]
        lines += [f"  {made.run_id}  {made.status.lower()}  {made.stage}" for made in one.stages]
    if ties.stages:
        known = ties.stages - len(ties.unknown)
        lines.append(f"{known} of the {ties.stages} stages in its dvc.lock have a run here")
    if ties.unknown:
        lines.append(f"without one: {', '.join(ties.unknown)}")
    return "\n".join(lines)


def _of_commit(store: Store, project: Path, what: str, kind: str, commit: str) -> Ties:
    stages = locked(project, commit)
    found = makers(store, stages)
    under: dict[str, list] = {}
    for runs in found.values():
        for run in runs:
            under.setdefault(run.data.tags.get(parent.PARENT, ""), []).append(run)
    if kind == "experiment":  # also one that failed before its first stage was done
        for run in _search(store, f"tags.`{EXPERIMENT}` = '{_quoted(what)}'"):
            if _is(run, "rebuild"):
                under.setdefault(run.info.run_id, [])
    tops = [run for run in (run_or_none(store, run_id) for run_id in under) if run is not None]
    # Another rebuild may have made the same later; an experiment's own comes first.
    tops.sort(
        key=lambda run: (run.data.tags.get(EXPERIMENT) == what, run.info.start_time), reverse=True
    )
    rebuilds = tuple(_rebuild(store, project, top, under[top.info.run_id]) for top in tops)
    unknown = tuple(name for name, runs in found.items() if not runs)
    return Ties(what, kind, commit, len(stages), unknown, rebuilds)


def _rebuild(store: Store, project: Path, top: Any, runs: list) -> Rebuild:
    tags = top.data.tags
    ran = [run for run in runs if parent.SKIPPED not in run.data.tags]
    ran.sort(key=lambda run: run.info.start_time)
    return Rebuild(
        run_id=top.info.run_id,
        name=top.info.run_name or "",
        status=top.info.status,
        experiment=tags.get(EXPERIMENT, ""),
        baseline=tags.get(BASELINE, ""),
        commits=_commits(project, ran),
        sweep=tags.get(sweeps.SWEEP, ""),
        stages=tuple(
            Made(run.data.tags.get(parent.STAGE, ""), run.info.run_id, run.info.status)
            for run in ran
        ),
    )


def _commits(project: Path, runs: list) -> tuple[str, ...]:
    """That brought what the last of these runs made into dvc.lock, the latest first."""
    made = [run for run in runs if ENTRY in run.data.tags and run.info.status == "FINISHED"]
    if not made:
        return ()
    tags = made[-1].data.tags
    digests = [digest for name, digest in tags.items() if name.startswith("out.")]
    if not digests:
        return ()
    listed = git.asked(
        project, "log", "--all", "--format=%H", f"-S{digests[0]}", "--", str(lineage.LOCK)
    )
    stage = tags.get(parent.STAGE, "")
    return tuple(
        commit
        for commit in listed.split()
        if lineage.entry_digest(locked(project, commit).get(stage, Entry())) == tags[ENTRY]
    )


def _tops(store: Store, run: Any) -> list:
    """The rebuilds of a run: itself, the one above it, or all of a sweep."""
    if _is(run, sweeps.STAGE):
        return parent.children(store, run.info.run_id)
    if _is(run, "rebuild"):
        return [run]
    above = run_or_none(store, run.data.tags.get(parent.PARENT, ""))
    return [above or run]


def _is(run: Any, stage: str) -> bool:
    return run.data.tags.get(parent.STAGE) == stage


def _search(store: Store, query: str) -> list:
    return list(
        store.client.search_runs(
            [store.experiment_id],
            query,
            order_by=["attributes.start_time DESC"],
            max_results=MAX_RUNS,
        )
    )


def _quoted(text: str) -> str:
    return text.replace("'", "")
