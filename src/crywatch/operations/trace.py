"""The whole lineage of a registered model, and whether what can be checked of it holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import git, params, paths
from crywatch.core.atomic import read_json
from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.tracking import entries, find, lineage, registry
from crywatch.tracking.lineage import Entry
from crywatch.tracking.registry import ModelVersion
from crywatch.tracking.store import Store, reached

if TYPE_CHECKING:
    from crywatch.tracking.store import Run

LINEAGE = "lineage.json"
KEPT = (str(lineage.LOCK), str(params.PARAMS_FILE), LINEAGE)  # artifacts of a version's run
MODEL_DVC = "crywatch.model.dvc"
LOCK_SHA256, PARAMS_SHA256 = "dvc.lock.sha256", "params.sha256"
OK, DIFFERS, MISSING = "ok", "differs", "missing"
OF_RUNS = frozenset({"duration_s", "peak_memory_mib", "n_stages", "n_skipped"})  # say nothing of it
SHORT = 12  # characters of a digest in a table


@dataclass(frozen=True)
class Recorded:
    """A version, and what was logged beside it when it was registered."""

    version: ModelVersion
    files: Mapping[str, Path]  # name, of those in `KEPT` that its run has
    lineage: dict[str, Any]  # of lineage.json; empty without one
    stages: dict[str, Entry]  # of the recorded dvc.lock

    def tag(self, name: str) -> str:
        """Of the version; empty without it."""
        return self.version.tags.get(name, "")

    def upstream(self) -> dict[str, Entry]:
        """The version's stage after all stages that it needs, each after what it needs."""
        stage = self.tag(registry.STAGE)
        if stage not in self.stages:
            return {}
        names = [*lineage.upstream(stage, self.stages), stage]
        return {name: self.stages[name] for name in in_order({n: self.stages[n] for n in names})}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    state: str  # ok, differs, missing
    said: str


@dataclass(frozen=True)
class TrainingCorpus:
    """A corpus that a model was trained on.

    Digests are DVC's, empty where the rebuild did not have the corpus.
    """

    name: str
    licence: str
    raw: str
    clean: str


@dataclass(frozen=True)
class Step:
    """A stage that the model needed, or its own."""

    stage: str
    entry: str  # digest of its entry in dvc.lock, as `lineage.entry_digest`
    outs: dict[str, str]  # path to DVC digest
    run_id: str  # empty where this store has no run of it
    run_status: str


@dataclass(frozen=True)
class RunAbove:
    """A run that stands above, in the lineage."""

    run_id: str
    name: str
    status: str
    started_at: str  # ISO 8601, UTC
    experiment: str


@dataclass(frozen=True)
class Trace:
    """The lineage of one version."""

    name: str
    version: int
    aliases: tuple[str, ...]
    model_sha256: str
    model_dvc: str
    stage: str
    commit: str
    subject: str  # of the commit; empty where it is not here
    dirty: bool
    experiments: tuple[str, ...]  # of DVC, whose runs made stages of it
    lock_sha256: str
    params_sha256: str
    profile: str
    params: dict[str, Any]  # dotted name to value, of all stages in its lineage
    corpora: tuple[TrainingCorpus, ...]
    steps: tuple[Step, ...]
    rebuild: RunAbove | None
    stage_run: RunAbove | None
    registering: RunAbove | None
    metrics: dict[str, float]
    promotions: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing differs; what is missing counts for nothing."""
        return all(check.state != DIFFERS for check in self.checks)


@reached()
def trace(project: Path, which: str) -> Trace:
    """The lineage of the version that ``which`` names (`find.version`).

    Raises
    ------
    UnreachableError
        The store does not answer.
    CrywatchError
        There is no such version.
    """
    store = registry.open_registry(create=False)
    model_version = version(store, which, project)
    with tempfile.TemporaryDirectory(prefix="crywatch-") as folder:
        record = recorded(store, model_version, Path(folder))
        stage = record.tag(registry.STAGE)
        own = record.upstream()
        runs = {name: runs[0] for name, runs in find.makers(store, own).items() if runs}
        stage_run = store.run(record.tag(registry.STAGE_RUN)) or runs.get(stage)
        rebuild = store.run(record.tag(registry.REBUILD_RUN))
        registering = store.run(model_version.run_id)
        checks = [
            *_check_commit(project, record),
            *_check_files(record),
            *_check_stages(project, record, own),
            *_check_runs(record, own, runs, stage_run, rebuild),
            _check_model(store, record, Path(folder)),
        ]
    makers = [run for run in (*runs.values(), stage_run) if run is not None]
    commit = record.tag("git.commit")
    metrics: dict[str, float] = {}
    for run in (rebuild, registering, stage_run):
        metrics |= _metrics(run, stage if run is rebuild else "")
    return Trace(
        name=model_version.name,
        version=model_version.version,
        aliases=model_version.aliases,
        model_sha256=record.tag(registry.DIGEST),
        model_dvc=record.tag(MODEL_DVC),
        stage=stage,
        commit=commit,
        subject=git.asked(project, "log", "-1", "--format=%s", commit) if commit else "",
        dirty=record.tag("git.dirty") == "true",
        experiments=tuple(
            sorted({run.data.tags.get(find.EXPERIMENT, "") for run in makers} - {""})
        ),
        lock_sha256=record.tag(LOCK_SHA256),
        params_sha256=record.tag(PARAMS_SHA256),
        profile=record.tag("profile"),
        params=dict(sorted(p for entry in own.values() for p in _flat(entry.params))),
        corpora=_corpora(record, own),
        steps=tuple(
            Step(
                name,
                lineage.entry_digest(entry),
                entry.outs,
                runs[name].info.run_id if name in runs else "",
                runs[name].info.status if name in runs else "",
            )
            for name, entry in own.items()
        ),
        rebuild=_above(rebuild),
        stage_run=_above(stage_run),
        registering=_above(registering),
        metrics=dict(sorted(metrics.items())),
        promotions=tuple(json.loads(model_version.tags.get(registry.PROMOTION) or "[]")),
        checks=tuple(checks),
    )


def version(store: Store, which: str, project: Path) -> ModelVersion:
    """The registered version that ``which`` names; a bare number or alias is of `register.name`.

    CrywatchError if there is none.
    """
    name = params.plain("register.name", project / params.PARAMS_FILE)
    found = find.version(store, which, name)
    if found is None:
        raise CrywatchError(
            f"{which}: no such version of {name} is registered: `crywatch register` makes one"
        )
    return found


def recorded(store: Store, version: ModelVersion, scratch: Path) -> Recorded:
    """A version with its artifacts, copied to the folder ``scratch``.

    UnreachableError if the store does not answer; what it does not have is left out.
    """
    files: dict[str, Path] = {}
    for name in KEPT:
        try:
            path = registry.download_artifact(store, version, name, scratch / "artifacts")
        except UnreachableError:
            raise
        except RegistryError:
            continue
        if path.is_file():
            files[name] = path
    lock = files.get(str(lineage.LOCK))
    return Recorded(
        version,
        files,
        read_json(files[LINEAGE]) if LINEAGE in files else {},
        lineage.parse_lock(lock.read_text()) if lock else {},
    )


def in_order(stages: dict[str, Entry]) -> list[str]:
    """Names of stages, each after those that it needs."""
    needs = {name: lineage.upstream(name, stages) for name in sorted(stages)}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise CrywatchError(f"dvc.lock: {', '.join(error.args[1])} need each other") from error


def as_json(traced: Trace) -> str:
    """For programs."""
    return json.dumps(asdict(traced) | {"sound": traced.sound}, indent=2, sort_keys=True)


def as_text(traced: Trace) -> str:
    """For people: what is not known is said."""
    return "\n".join(_lines(traced))


def _lines(t: Trace) -> Iterator[str]:
    aliases = f" ({', '.join(t.aliases)})" if t.aliases else ""
    yield f"{t.name} version {t.version}{aliases}"
    yield f"  model       sha256 {_or_unknown(t.model_sha256)}"
    yield f"              dvc {_or_unknown(t.model_dvc)}"
    yield f"  made by     {t.stage or 'no stage: a folder that was registered by hand'}"
    dirty = ", with changes that were not committed" if t.dirty else ""
    yield f"  commit      {_or_unknown(t.commit)}{dirty}"
    if t.subject:
        yield f"              {t.subject}"
    yield f"  experiment  {', '.join(t.experiments) or 'none: plain rebuilds'}"
    yield f"  dvc.lock    sha256 {_or_unknown(t.lock_sha256)}"
    yield f"  params.yaml sha256 {_or_unknown(t.params_sha256)}"
    yield f"  profile     {_or_unknown(t.profile)}"
    yield "corpora" if t.corpora else "corpora: not recorded"
    for corpus in t.corpora:
        yield f"  {corpus.name}: {corpus.licence or 'licence not recorded'}"
        yield f"    raw {_or_unknown(corpus.raw)}, clean {_or_unknown(corpus.clean)}"
    yield "runs"
    for what, run in (
        ("rebuild", t.rebuild),
        ("stage", t.stage_run),
        ("registered", t.registering),
    ):
        text = "not in this store"
        if run is not None:
            text = f"{run.run_id}  {run.status.lower()}  {run.started_at}  {run.name}"
        yield f"  {what:<11} {text}"
    yield "stages" if t.steps else "stages: not recorded"
    for step in t.steps:
        run_id = step.run_id or "not in this store"
        yield f"  {step.stage}: entry {step.entry[:SHORT]}, run {run_id}"
        for path, digest in step.outs.items():
            yield f"    {path} {digest}"
    yield "params" if t.params else "params: not recorded"
    for name, value in t.params.items():
        yield f"  {name} = {json.dumps(value)}"
    yield "metrics" if t.metrics else "metrics: not recorded"
    for name, value in t.metrics.items():
        yield f"  {name} = {value:.6g}"
    yield "promotions" if t.promotions else "promotions: it was never champion"
    for move in t.promotions:
        before = move.get("from_version")
        kind = move.get("kind", "promotion")
        yield (
            f"  {move.get('at', '')}  {kind} of {move.get('to_version')} in place of "
            f"{before if before is not None else 'none'}, by {move.get('by') or 'unknown'}: "
            f"{move.get('why') or 'no reason given'}"
        )
    yield "checks"
    for check in t.checks:
        yield f"  {check.state:<8} {check.what}: {check.said}"


def _or_unknown(text: str) -> str:
    return text or "not recorded"


def _check_commit(project: Path, record: Recorded) -> Iterator[Check]:
    commit = record.tag("git.commit")
    if not commit:
        yield Check("commit", MISSING, "none is recorded: it was registered outside of git")
    elif git.commit(project, commit):
        yield Check("commit", OK, "it is in this repository")
    else:
        yield Check("commit", MISSING, "it is not in this repository: `git fetch` what holds it")
    if record.tag("git.dirty") == "true":
        yield Check("working tree", MISSING, "what was not committed then is recorded nowhere")


def _check_files(record: Recorded) -> Iterator[Check]:
    run_id = record.version.run_id
    for what, tag in ((str(lineage.LOCK), LOCK_SHA256), (str(params.PARAMS_FILE), PARAMS_SHA256)):
        sha256 = record.tag(tag)
        if what not in record.files:
            yield Check(what, MISSING, f"run {run_id} does not have it")
        elif not sha256:
            yield Check(what, MISSING, f"the version has no tag {tag} to hold it against")
        elif (found := file_sha256(record.files[what])) != sha256:
            yield Check(what, DIFFERS, f"its sha256 is {found}, and {sha256} was recorded")
        else:
            yield Check(what, OK, "what was kept has the recorded sha256")
    if LINEAGE not in record.files:
        yield Check(LINEAGE, MISSING, f"run {run_id} does not have it")


def _check_stages(project: Path, record: Recorded, own: dict[str, Entry]) -> Iterator[Check]:
    stage, digest = record.tag(registry.STAGE), record.tag(MODEL_DVC)
    if not own:
        yield Check("stage", MISSING, f"the kept dvc.lock has no entry of {stage or 'its stage'}")
        return
    if not digest:
        yield Check("stage", MISSING, f"the version has no tag {MODEL_DVC}")
    elif digest in own[stage].outs.values():
        yield Check("stage", OK, f"the kept dvc.lock says that {stage} made this model")
    else:
        made = ", ".join(own[stage].outs.values())
        yield Check("stage", DIFFERS, f"by the kept dvc.lock {stage} made {made}, not {digest}")
    listed = record.lineage.get("stages", {})
    wrong = [name for name, outs in listed.items() if name in own and outs != own[name].outs]
    gone = sorted(set(own) - set(listed))
    if wrong:
        text = f"{LINEAGE} and dvc.lock differ: {', '.join(wrong)}"
        yield Check("upstream stages", DIFFERS, text)
    elif gone:
        text = f"{LINEAGE} does not list {', '.join(gone)}"
        yield Check("upstream stages", MISSING, text)
    else:
        yield Check("upstream stages", OK, f"{len(own)} agree in {LINEAGE} and dvc.lock")
    commit = record.tag("git.commit")
    committed = entries.locked(project, commit) if commit else {}
    other = [name for name, entry in own.items() if committed.get(name) != entry]
    if other:
        text = f"not there, so that the kept copy is the only one: {', '.join(other)}"
        yield Check("dvc.lock of the commit", MISSING, text)
    else:
        yield Check("dvc.lock of the commit", OK, "it has the same entries")


def _check_runs(
    record: Recorded,
    own: Mapping[str, Entry],
    runs: Mapping[str, Run],
    stage_run: Run | None,
    rebuild: Run | None,
) -> Iterator[Check]:
    stage = record.tag(registry.STAGE)
    if stage_run is None:
        yield Check("stage run", MISSING, "the store has no run that made this model")
    elif stage in own:
        run_id, entry = stage_run.info.run_id, stage_run.data.tags.get(entries.ENTRY, "")
        if not entry:
            yield Check("stage run", MISSING, f"run {run_id} names no entry of dvc.lock")
        elif entry != lineage.entry_digest(own[stage]):
            yield Check("stage run", DIFFERS, f"run {run_id} made another entry of dvc.lock")
        else:
            yield Check("stage run", OK, f"run {run_id} made this entry of dvc.lock")
    without = [name for name in own if name not in runs]
    if without:
        text = f"the store has none that made {', '.join(without)}"
        yield Check("upstream runs", MISSING, text)
    elif own:
        yield Check("upstream runs", OK, f"each of the {len(own)} stages has one")
    if rebuild is None:
        yield Check("parent run", MISSING, "the store does not have the rebuild's run")


def _check_model(store: Store, record: Recorded, folder: Path) -> Check:
    try:
        found = files_sha256([registry.download(store, record.version, folder / "model")])
    except UnreachableError:
        raise
    except RegistryError as error:
        return Check("model", DIFFERS, str(error))
    digest = record.tag(registry.DIGEST)
    if found != digest:
        return Check("model", DIFFERS, f"its sha256 is {found}, and {digest} was recorded")
    return Check("model", OK, "the registry's files have the recorded sha256")


def _corpora(record: Recorded, own: dict[str, Entry]) -> tuple[TrainingCorpus, ...]:
    outs = {path: digest for entry in own.values() for path, digest in entry.outs.items()}
    known = record.lineage.get("corpora", {})
    tagged = [name for name in record.tag("corpora").split(", ") if name]
    return tuple(
        TrainingCorpus(
            name,
            known.get(name, {}).get("licence", ""),
            outs.get(paths.raw(name).as_posix()) or known.get(name, {}).get("raw", ""),
            outs.get(paths.clean(name).as_posix()) or known.get(name, {}).get("clean", ""),
        )
        for name in sorted({*known, *tagged})
    )


def _metrics(run: Run | None, stage: str) -> dict[str, float]:
    """Of a run; with ``stage`` those that name its model, as a rebuild has all models'."""
    if run is None:
        return {}
    model = stage.partition("@")[2]
    return {
        name: value
        for name, value in run.data.metrics.items()
        if name not in OF_RUNS and (not model or model in name.split("/")[:-1])
    }


def _above(run: Run | None) -> RunAbove | None:
    if run is None:
        return None
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return RunAbove(
        run.info.run_id,
        run.info.run_name or "",
        run.info.status,
        started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        run.data.tags.get(find.EXPERIMENT, ""),
    )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
