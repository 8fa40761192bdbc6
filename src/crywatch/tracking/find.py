"""Finds runs of MLflow, experiments of DVC and commits of git from any one of them.

What ties them is what a stage makes: dvc.lock at a commit holds an entry a stage, and the run that
made it has the digest of that entry as a tag. That holds for an experiment, which gets its commit
after its runs have ended, and for what `dvc exp apply` and `git commit` made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core import git
from crywatch.core.errors import CrywatchError
from crywatch.tracking import lineage, parent, registry, sender, sweeps
from crywatch.tracking.entries import ENTRY, experiment_commit, lock_at
from crywatch.tracking.lineage import Entry
from crywatch.tracking.registry import ModelVersion
from crywatch.tracking.store import Store, tagged

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "dvc.exp"
BASELINE = "git.commit"
RUN_ID = re.compile(r"[0-9a-f]{32}")
# A version of a registered model, by its name or as MLflow spells it.
VERSION = re.compile(r"(?:models:/)?(?P<name>[^/@]+)[/@](?P<which>[^/@]+)")


@dataclass(frozen=True)
class StageRecord:
    """A stage and its run."""

    stage: str
    run_id: str
    status: str


@dataclass(frozen=True)
class RebuildRecord:
    """One `dvc repro` or `dvc exp run`."""

    run_id: str
    name: str
    status: str
    experiment: str  # name; empty for a plain rebuild
    baseline: str  # commit that was checked out
    commits: tuple[str, ...]  # that hold what it made
    sweep: str  # name, or empty
    stages: tuple[StageRecord, ...]  # of what was asked for, or all of them


@dataclass(frozen=True)
class Ties:
    """All that belongs together."""

    what: str
    kind: str  # run, experiment, commit
    commit: str  # SHA, or empty: no commit is known
    stages: int  # in dvc.lock at that commit
    unknown: tuple[str, ...]  # those of which this store has no run
    rebuilds: tuple[RebuildRecord, ...]  # the experiment's own, then the latest first


def find(store: Store, project: Path, what: str) -> Ties:
    """What belongs to a run id, the name of an experiment, or a git revision.

    Raises
    ------
    CrywatchError
        ``what`` is none of these.
    """
    sender.settle(store)
    if RUN_ID.fullmatch(what) and (run := store.run(what)):
        rebuilds = _with_stages(store, project, _tops(store, run))
        commits = [commit for rebuild in rebuilds for commit in rebuild.commits]
        return Ties(what, "run", commits[0] if commits else "", 0, (), rebuilds)
    if commit := experiment_commit(project, what):
        return _of_commit(store, project, what, "experiment", commit)
    if commit := git.commit(project, what):
        return _of_commit(store, project, what, "commit", commit)
    if tops := _of_experiment(store, what):  # which DVC no longer has
        return Ties(what, "experiment", "", 0, (), _with_stages(store, project, tops))
    raise CrywatchError(
        f"{what}: no run of this store, no experiment of DVC (`dvc exp list --all`) and no commit"
    )


def makers(store: Store, stages: Mapping[str, Entry]) -> dict[str, list[Run]]:
    """Stage to the runs that ended well with that entry of dvc.lock, the latest first."""
    sender.settle(store)
    return {
        name: list(
            store.runs(
                f"{tagged(ENTRY, lineage.entry_digest(entry))} "
                f"and attributes.status = 'FINISHED' and {tagged(parent.STAGE, name)}"
            )
        )
        for name, entry in stages.items()
    }


def version(store: Store, which: str, registered: str) -> ModelVersion | None:
    """The registered version that ``which`` names; None without one.

    It is an alias or a number (champion, challenger, 3) of the model ``registered``, or one with a
    model's name (cry-detector/3, models:/cry-detector/3, models:/cry-detector@champion).
    """
    match = VERSION.fullmatch(which)
    if match is None:
        return registry.find(store, registered, which)
    return registry.find(store, match["name"], match["which"])


def render(ties: Ties) -> str:
    """Lines for a terminal."""
    if ties.commit:
        lines = [f"{ties.kind} {ties.what}: commit {ties.commit}"]
    else:
        lines = [f"{ties.kind} {ties.what}: no commit holds what it made"]
    for rebuild in ties.rebuilds:
        lines.append(f"run {rebuild.run_id}  {rebuild.status.lower()}  {rebuild.name}")
        if rebuild.experiment:
            lines.append(f"  experiment  {rebuild.experiment}")
        if rebuild.sweep:
            lines.append(f"  sweep       {rebuild.sweep}")
        lines.append(f"  baseline    {rebuild.baseline or 'unknown'}")
        lines += [f"  commit      {commit}" for commit in rebuild.commits]
        lines += [f"  {run.run_id}  {run.status.lower()}  {run.stage}" for run in rebuild.stages]
    if ties.stages:
        n_known = ties.stages - len(ties.unknown)
        lines.append(f"{n_known} of the {ties.stages} stages in its dvc.lock have a run here")
    if ties.unknown:
        lines.append(f"without one: {', '.join(ties.unknown)}")
    return "\n".join(lines)


def _of_commit(store: Store, project: Path, what: str, kind: str, commit: str) -> Ties:
    stages = lock_at(project, commit)
    runs_of_stage = makers(store, stages)
    runs_by_parent: dict[str, list[Run]] = {}
    for runs in runs_of_stage.values():
        for run in runs:
            runs_by_parent.setdefault(run.data.tags.get(parent.PARENT, ""), []).append(run)
    if kind == "experiment":  # also a rebuild that failed before its first stage was done
        for run in _of_experiment(store, what):
            runs_by_parent.setdefault(run.info.run_id, [])
    tops = [run for run in map(store.run, runs_by_parent) if run is not None]
    # Another rebuild may have made the same later; an experiment's own comes first.
    tops.sort(
        key=lambda run: (run.data.tags.get(EXPERIMENT) == what, run.info.start_time), reverse=True
    )
    rebuilds = tuple(_rebuild(project, top, runs_by_parent[top.info.run_id]) for top in tops)
    unknown = tuple(name for name, runs in runs_of_stage.items() if not runs)
    return Ties(what, kind, commit, len(stages), unknown, rebuilds)


def _of_experiment(store: Store, name: str) -> list[Run]:
    """Rebuilds of an experiment of DVC."""
    return list(store.runs(f"{tagged(EXPERIMENT, name)} and {tagged(parent.STAGE, 'rebuild')}"))


def _with_stages(store: Store, project: Path, tops: list[Run]) -> tuple[RebuildRecord, ...]:
    return tuple(_rebuild(project, top, parent.children(store, top.info.run_id)) for top in tops)


def _rebuild(project: Path, top: Run, runs: list[Run]) -> RebuildRecord:
    tags = top.data.tags
    stage_runs = [run for run in runs if parent.SKIPPED not in run.data.tags]
    stage_runs.sort(key=lambda run: run.info.start_time)
    return RebuildRecord(
        run_id=top.info.run_id,
        name=top.info.run_name or "",
        status=top.info.status,
        experiment=tags.get(EXPERIMENT, ""),
        baseline=tags.get(BASELINE, ""),
        commits=_commits(project, stage_runs),
        sweep=tags.get(sweeps.SWEEP, ""),
        stages=tuple(
            StageRecord(run.data.tags.get(parent.STAGE, ""), run.info.run_id, run.info.status)
            for run in stage_runs
        ),
    )


def _commits(project: Path, runs: list[Run]) -> tuple[str, ...]:
    """That brought what the last of these runs made into dvc.lock, the latest first."""
    finished = [run for run in runs if ENTRY in run.data.tags and run.info.status == "FINISHED"]
    if not finished:
        return ()
    tags = finished[-1].data.tags
    digests = [digest for name, digest in tags.items() if name.startswith("out.")]
    if not digests:
        return ()
    log = git.output(
        project, "log", "--all", "--format=%H", f"-S{digests[0]}", "--", str(lineage.LOCK)
    )
    stage = tags.get(parent.STAGE, "")
    return tuple(
        commit
        for commit in log.split()
        if lineage.entry_digest(lock_at(project, commit).get(stage, Entry())) == tags[ENTRY]
    )


def _tops(store: Store, run: Run) -> list[Run]:
    """The rebuilds of a run: itself, the one above it, or all of a sweep."""
    stage = run.data.tags.get(parent.STAGE)
    if stage == sweeps.STAGE:
        return parent.children(store, run.info.run_id)
    if stage == "rebuild":
        return [run]
    return [store.run(run.data.tags.get(parent.PARENT, "")) or run]
