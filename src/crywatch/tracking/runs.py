"""Evaluations of earlier rebuilds, and the scores that they logged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core import gate, git
from crywatch.core.errors import CrywatchError
from crywatch.tracking import describe, entries, lineage, parent, registry, sender
from crywatch.tracking import find as ties
from crywatch.tracking.store import Store, open_store, tagged

if TYPE_CHECKING:
    from mlflow.entities import Run

WORKSPACE = "workspace"
EVALUATION = "evaluate"
COMPARISON = "compare"
FIRST, SECOND = "crywatch.compared.first", "crywatch.compared.second"
BATCH = 500  # metrics of a request
SHORT = 8  # characters of a run id that is shown
SHA = re.compile(r"[0-9a-f]{40}")
START = re.compile(rf"[0-9a-f]{{{SHORT},31}}")  # of a run id
NUMBER = re.compile(r"[0-9]{1,5}")  # of a version
LISTED = 4  # candidates that an error names


@dataclass(frozen=True)
class EvaluatedRun:
    """A run of stage ``evaluate``, or the working tree, and the rebuild it stands for."""

    run_id: str  # "" for the working tree
    rebuild_id: str  # the parent that it was found by, else its own; "" for the working tree
    name: str
    commit: str
    dirty: bool
    experiment: str  # of `dvc exp`, or ""
    started_at: str  # ISO 8601, UTC; "" for the working tree
    metrics: Mapping[str, float]
    params: Mapping[str, str] = field(default_factory=dict)  # all of params.yaml, where recorded

    @property
    def label(self) -> str:
        """For people: what tells it from another run."""
        if not self.run_id:
            return f"{WORKSPACE} {self.commit[:7]}{'+' if self.dirty else ''}".strip()
        return f"{self.name} [{self.rebuild_id[:SHORT] or self.run_id[:SHORT]}]"


@contextmanager
def project_store() -> Iterator[Store]:
    """The project's store; what its driver raises becomes a CrywatchError that names the store."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield open_store()
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise CrywatchError(f"tracking store: {type(error).__name__}: {lines[0]}") from error


def workspace() -> EvaluatedRun:
    """The files of the working tree."""
    here = lineage.commit()
    return EvaluatedRun("", "", WORKSPACE, here.sha, here.dirty, "", "", {}, describe.here())


def find(store: Store, which: str, registered: str) -> EvaluatedRun:
    """The evaluation that ``which`` names.

    That is ``workspace``; an alias or the number of a version of model ``registered``; a run id or
    its first eight characters; the name of a `dvc exp`; a git revision. A rebuild stands for its
    evaluation, also where DVC skipped it.

    Raises
    ------
    CrywatchError
        Nothing or several are called so (the candidates are listed), or no evaluation belongs to
        it.
    """
    if which == WORKSPACE:
        return workspace()
    sender.settle(store)
    version = _version(store, which, registered)
    if version is not None:
        return version
    if ties.RUN_ID.fullmatch(which) and (run := store.run(which)) is not None:
        return _evaluation(store, run)
    matches = _matches(store, which)
    if not matches:
        latest = list(_of_stages(store, ""))[:LISTED]
        candidates = "; ".join(map(_line, latest))
        raise CrywatchError(
            f"no run is called {which!r}: name a run id, a `dvc exp`, a commit, {WORKSPACE!r}, an "
            f"alias or a version of {registered}"
            + (f": the latest are {candidates}" if candidates else f"; {store.uri} holds none yet")
        )
    evaluations: dict[str, EvaluatedRun] = {}
    errors: list[CrywatchError] = []
    for run in matches:
        try:
            evaluated = _evaluation(store, run)
            evaluations.setdefault(evaluated.run_id, evaluated)
        except CrywatchError as error:
            errors.append(error)
    if not evaluations:
        maker = _by_lock(store, which)
        if maker is None:
            raise errors[0]
        return _evaluation(store, maker)
    digests = {_outs(store, run_id) or run_id for run_id in evaluations}
    if len(digests) > 1:
        candidates = "; ".join(map(_line, matches[:LISTED]))
        raise CrywatchError(
            f"{len(matches)} runs are called {which!r}, and their scores differ; name one by its "
            f"id: {candidates}"
        )
    return next(iter(evaluations.values()))  # the latest of equal ones


def latest(store: Store, count: int) -> list[EvaluatedRun]:
    """The evaluations of the last ``count`` rebuilds that differ in it, the latest first."""
    evaluations: dict[str, EvaluatedRun] = {}
    for run in store.runs(tagged(parent.STAGE, "rebuild")):
        if len(evaluations) == count:
            break
        try:
            evaluated = _evaluation(store, run)
        except CrywatchError:  # a rebuild that ended before it, or of other stages alone
            continue
        evaluations.setdefault(evaluated.run_id, evaluated)
    return list(evaluations.values())


def artifact(store: Store, run: EvaluatedRun, name: str, folder: Path) -> Path:
    """A file that a run logged, fetched into ``folder``."""
    from mlflow.exceptions import MlflowException

    target = folder / gate.NAME(run.run_id, f"{run.label}: its id")
    target.mkdir(parents=True, exist_ok=True)
    try:
        return Path(store.client.download_artifacts(run.run_id, name, str(target)))
    except (MlflowException, OSError) as error:
        raise CrywatchError(
            f"{run.label}: {name} of run {run.run_id} cannot be had from {store.uri}: the run is "
            "from before it was logged, or the store lost it; rebuild that commit, or name another "
            f"run. {type(error).__name__}: {error}"
        ) from error


def log_comparison(
    store: Store,
    name: str,
    pairs: Sequence[tuple[EvaluatedRun, EvaluatedRun]],
    files: Sequence[Path],
    metrics: Mapping[str, float],
) -> str:
    """Log a comparison as a run of its own, with links to what it compares; its run id."""
    firsts = list(dict.fromkeys(first.run_id or WORKSPACE for first, _ in pairs))
    seconds = list(dict.fromkeys(second.run_id or WORKSPACE for _, second in pairs))
    links = {_link(store, run) for pair in pairs for run in pair}
    tags = {
        FIRST: ",".join(firsts),
        SECOND: ",".join(seconds),
        "mlflow.note.content": "Compared: " + ", ".join(sorted(links)),
    }
    return log_command(store, name, COMPARISON, files, metrics, tags)


def log_command(
    store: Store,
    name: str,
    command: str,
    files: Sequence[Path],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """Log what a command measured and wrote as a run of its own; its run id."""
    from mlflow.entities import Metric

    here = lineage.commit()
    of_commit = {"git.commit": here.sha, "git.dirty": str(here.dirty).lower()}
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    values = [Metric(key, value, now_ms, 0) for key, value in metrics.items()]
    with parent.command_run(store, name, {parent.STAGE: command, **of_commit, **tags}) as run_id:
        for start in range(0, len(values), BATCH):
            store.client.log_batch(run_id, metrics=values[start : start + BATCH])
        for file in files:
            store.client.log_artifact(run_id, str(file))
    return run_id


def _link(store: Store, run: EvaluatedRun) -> str:
    if not run.run_id:
        return run.label
    return f"[{run.label}](#/experiments/{store.experiment_id}/runs/{run.run_id})"


def _of_stages(store: Store, condition: str) -> Iterator[Run]:
    """Rebuilds and evaluations under a condition, without the notes of skipped ones."""
    more = f" and {condition}" if condition else ""
    for stage in ("rebuild", EVALUATION):
        for run in store.runs(tagged(parent.STAGE, stage) + more):
            if parent.SKIPPED not in run.data.tags:
                yield run


def _matches(store: Store, which: str) -> list[Run]:
    """By the first meaning of ``which`` that fits any run; evaluations of a rebuild that does.

    A commit is not the experiments that began with it where it has runs of its own, or where its
    dvc.lock says what it made.
    """
    matches = list(_of_stages(store, tagged(ties.EXPERIMENT, which)))
    if not matches and START.fullmatch(which):  # as `_line` and labels show it
        matches = [run for run in _of_stages(store, "") if run.info.run_id.startswith(which)]
    if not matches:
        sha = git.commit(Path.cwd(), which) or (which if SHA.fullmatch(which) else "")
        at_commit = list(_of_stages(store, tagged(ties.BASELINE, sha))) if sha else []
        maker = _by_lock(store, which)
        matches = [run for run in at_commit if not run.data.tags.get(ties.EXPERIMENT)]
        matches = matches or ([maker] if maker else at_commit)
    rebuilds = {run.info.run_id for run in matches}
    return [run for run in matches if run.data.tags.get(parent.PARENT) not in rebuilds]


def _version(store: Store, which: str, registered: str) -> EvaluatedRun | None:
    """The evaluation of an alias or of a version's number, also as NAME/ALIAS or NAME/3."""
    label = which.removeprefix(f"{registered}/")
    if label not in (registry.CHAMPION, registry.CHALLENGER) and not NUMBER.fullmatch(label):
        return None
    version = ties.version(store, label, registered)
    if version is None:
        if NUMBER.fullmatch(label):  # or a git revision
            return None
        raise CrywatchError(
            f"no version of {registered} is the {label}: `crywatch register` makes one"
        )
    run = store.run(version.tags.get(registry.REBUILD_RUN, ""))
    if run is None:
        raise CrywatchError(
            f"version {version.version} of {registered}: the rebuild that made it is not in "
            f"{store.uri}; name its evaluation by a run id"
        )
    try:
        return _evaluation(store, run)
    except CrywatchError:
        for later in _went_on(store, version.tags.get(registry.STAGE_RUN, "")):
            with suppress(CrywatchError):
                return _evaluation(store, later)
        raise


def _went_on(store: Store, made_by: str) -> Iterator[Run]:
    """Rebuilds that skipped a stage, as the run ``made_by`` had made it, the latest first."""
    if made_by:
        for note in store.runs(tagged(parent.OUTPUTS_FROM, made_by)):
            above = store.run(note.data.tags.get(parent.PARENT, ""))
            if above is not None:
                yield above


def _outs(store: Store, run_id: str) -> str:
    """Digest of what a run made; empty where it is not known."""
    return store.client.get_run(run_id).data.tags.get(parent.OUTS, "")


def _evaluation(store: Store, run: Run) -> EvaluatedRun:
    """The evaluation that a run is, or that belongs to its rebuild."""
    rebuild = run
    if run.data.tags.get(parent.STAGE) != "rebuild":  # above one may be a sweep
        rebuild = store.run(run.data.tags.get(parent.PARENT, "")) or run
    if run.data.tags.get(parent.STAGE) == EVALUATION:
        return _evaluated_run(_source(store, run), rebuild)
    condition = (
        f"{tagged(parent.PARENT, rebuild.info.run_id)} and {tagged(parent.STAGE, EVALUATION)}"
    )
    for child in store.runs(condition):
        if parent.SKIPPED in child.data.tags or child.info.status == "FINISHED":
            return _evaluated_run(_source(store, child), rebuild)
    maker = _by_lock(store, rebuild.data.tags.get(ties.EXPERIMENT, ""))
    if maker is not None:
        return _evaluated_run(maker, rebuild)
    raise CrywatchError(
        f"{_line(rebuild)}: no {EVALUATION} of it ended well, so there are no scores to compare"
    )


def _by_lock(store: Store, which: str) -> Run | None:
    """The run that made what dvc.lock holds at an experiment or a commit; None without one.

    A rebuild of which DVC found everything made before leaves no run of its own.
    """
    project = Path.cwd()
    sha = (entries.experiment_commit(project, which) or git.commit(project, which)) if which else ""
    entry = entries.lock_at(project, sha).get(EVALUATION) if sha else None
    if entry is None:
        return None
    return next(iter(ties.makers(store, {EVALUATION: entry})[EVALUATION]), None)


def _source(store: Store, run: Run) -> Run:
    """The run itself, or the one whose outputs a skipped stage stands for."""
    if parent.SKIPPED not in run.data.tags:
        return run
    source = run.data.tags.get(parent.OUTPUTS_FROM, "")
    maker = store.run(source)
    if maker is None:
        raise CrywatchError(
            f"{_line(run)}: DVC skipped it, and the run that made its outputs is not in "
            f"{store.uri}: `dvc repro -f -s {EVALUATION}` makes them again"
        )
    return maker


def _evaluated_run(evaluation: Run, rebuild: Run) -> EvaluatedRun:
    tags = rebuild.data.tags
    return EvaluatedRun(
        run_id=evaluation.info.run_id,
        rebuild_id=rebuild.info.run_id,
        name=rebuild.info.run_name,
        commit=tags.get(ties.BASELINE, ""),
        dirty=tags.get("git.dirty") == "true",
        experiment=tags.get(ties.EXPERIMENT, ""),
        started_at=_at(rebuild),
        metrics=dict(evaluation.data.metrics),
        params=dict(rebuild.data.params),
    )


def _at(run: Run) -> str:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds")


def _line(run: Run) -> str:
    tags = run.data.tags
    experiment = f", dvc exp {tags[ties.EXPERIMENT]}" if tags.get(ties.EXPERIMENT) else ""
    commit = tags.get(ties.BASELINE, "")[:7] or "no commit"
    return f"{run.info.run_id[:SHORT]} ({run.info.run_name}, {commit}{experiment}, {_at(run)})"
