"""What there is after a rebuild that was killed: outputs, files, runs and the work repeated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

RESUMABLE = Path("data") / "work"  # empty after a rebuild, but for locks
SPOOL = RESUMABLE / "tracking"  # records that the store has not got yet
STAYS = (SPOOL, RESUMABLE / "score")  # scores that the next rebuild need not make again
MAX_RUNS = 10_000


@dataclass(frozen=True)
class Kill:
    """One kill."""

    at_s: float  # of running time, over all attempts
    time_s: float  # since the epoch
    running: str  # what DVC had said last


@dataclass(frozen=True)
class StageWork:
    """A stage that ran more than once."""

    stage: str
    finished: int
    killed: int
    cut_s: float  # that its killed runs had run

    @property
    def text(self) -> str:
        """For the table."""
        return f"{self.stage}: {self.finished} ended, {self.killed} killed after {self.cut_s:.0f} s"


@dataclass
class Aftermath:
    """All of it."""

    equal: int = 0  # outputs with the reference's digest
    different: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # bytes that are not those of dvc.lock
    half: list[str] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)  # records that stay in the spool
    running: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    killed: int = 0  # stage runs
    cut_s: float = 0.0  # of killed runs: an upper bound of what was lost, for some were resumed
    redone_s: float = 0.0  # of runs that had ended, and whose stage ran again
    stage_s: float = 0.0  # of all ended runs that count
    again: list[StageWork] = field(default_factory=list)

    @property
    def problems(self) -> bool:
        """Whether something is there that must not be."""
        wrong = (self.different, self.wrong, self.half, self.undelivered)
        return any((*wrong, self.running, self.failed))


def look(
    project: Path, reference: Path, may_differ: Sequence[str], kills: Sequence[Kill]
) -> Aftermath:
    """Everything that a rebuild in ``project`` left, against an undisturbed one's dvc.lock."""
    after = Aftermath()
    _compare(after, project / "dvc.lock", reference, may_differ)
    _check_bytes(after, project)
    _find_half(after, project)
    after.undelivered = [path.name for path in (project / SPOOL / "spool").glob("*")]
    _read_runs(after, project, [kill.time_s for kill in kills])
    return after


def _outs(lock: Path) -> dict[str, tuple[str, str]]:
    """Path to the stage that makes it and its digest."""
    if not lock.is_file():
        return {}
    try:
        stages = yaml.load(lock.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:  # cut off, after an interruption
        return {}
    return {
        out["path"]: (name, out["md5"])
        for name, body in ((stages or {}).get("stages") or {}).items()
        for out in body.get("outs", [])
    }


def _compare(after: Aftermath, lock: Path, reference: Path, may_differ: Sequence[str]) -> None:
    made, wanted = _outs(lock), _outs(reference)
    for path in sorted(made.keys() | wanted.keys()):
        stage = (made.get(path) or wanted[path])[0]
        if made.get(path) == wanted.get(path):
            after.equal += 1
        elif stage.partition("@")[0] not in may_differ:
            there = " is missing" if path not in made else ""
            after.different.append(f"{path} ({stage}){there}")


def _check_bytes(after: Aftermath, project: Path) -> None:
    from crywatch.core.errors import CrywatchError
    from crywatch.operations.check import verify

    try:
        # An output that is not there is as bad here as one that is wrong.
        after.wrong = [finding.line for finding in verify(project)]
    except CrywatchError as error:
        after.wrong = [str(error)]


def _find_half(after: Aftermath, project: Path) -> None:
    for top, folders, names in os.walk(project):
        here = Path(top).relative_to(project)
        folders[:] = [name for name in folders if name != ".git"]
        left = [n for n in [*folders, *names] if n.startswith(".tmp-")]
        if here.is_relative_to(RESUMABLE) and not any(map(here.is_relative_to, STAYS)):
            left += [name for name in names if not name.endswith(".lock")]
        after.half += [str(here / name) for name in left]


def _read_runs(after: Aftermath, project: Path, kills_s: Sequence[float]) -> None:
    """From the project's local store."""
    for by_stage in _runs(after, project).values():
        ended = [run for run in by_stage if run.info.status == "FINISHED"]
        killed = [run for run in by_stage if run.info.status == "KILLED"]
        cut_s = sum(_cut_s(run, kills_s) for run in killed)
        seconds = [run.data.metrics.get("duration_s", 0.0) for run in ended]
        after.killed += len(killed)
        after.cut_s += cut_s
        after.redone_s += sum(seconds[:-1])
        after.stage_s += sum(seconds[-1:])
        if len(by_stage) > 1:
            stage = by_stage[0].data.tags["crywatch.stage"]
            after.again.append(StageWork(stage, len(ended), len(killed), cut_s))


def _runs(after: Aftermath, project: Path) -> dict[str, list[Any]]:
    """Stage to its runs, oldest first; what is no stage's is only looked at for its end."""
    from mlflow.tracking import MlflowClient

    store = project / "mlflow.db"
    if not store.is_file():
        after.failed.append(f"{store} is missing")
        return {}
    client = MlflowClient(f"sqlite:///{store}")
    by_stage: dict[str, list[Any]] = {}
    for experiment in client.search_experiments():
        page = None
        while page is None or page:
            runs = client.search_runs(
                [experiment.experiment_id],
                max_results=MAX_RUNS,
                order_by=["attributes.start_time ASC"],
                page_token=page,
            )
            page = runs.token or ""
            for run in runs:
                name, status = run.info.run_name, run.info.status
                if status == "RUNNING":
                    after.running.append(f"{name} ({run.info.run_id})")
                elif status not in ("FINISHED", "KILLED"):
                    after.failed.append(f"{name} ({run.info.run_id}): {status}")
                stage = run.data.tags.get("crywatch.stage", "rebuild")
                if stage != "rebuild" and "crywatch.skipped" not in run.data.tags:
                    by_stage.setdefault(stage, []).append(run)
    return by_stage


def _cut_s(run: Any, kills_s: Sequence[float]) -> float:
    """How long a killed run had run; the store notes its end only when the next one starts."""
    start_s = run.info.start_time / 1000
    return min((kill_s - start_s for kill_s in kills_s if kill_s >= start_s), default=0.0)
