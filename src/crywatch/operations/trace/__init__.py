"""The whole lineage of a registered model, and whether what can be checked of it holds.

`trace` gives it as a `Trace`, which ``text`` shows; ``record`` is what was logged beside the
version when it was registered, and ``checks`` holds it against the store, git and the model's
bytes.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import gate, git, paths
from crywatch.operations.trace import checks
from crywatch.operations.trace.checks import DIFFERS, Check
from crywatch.operations.trace.record import (
    LOCK_SHA256,
    MODEL_DVC,
    PARAMS_SHA256,
    VersionRecord,
    fetch,
    version,
)
from crywatch.tracking import find, lineage, registry
from crywatch.tracking.lineage import Entry
from crywatch.tracking.store import reached

if TYPE_CHECKING:
    from crywatch.tracking.store import Run

OF_RUNS = frozenset({"duration_s", "peak_memory_mib", "n_stages", "n_skipped"})  # say nothing of it


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
        record = fetch(store, model_version, Path(folder))
        stage = record.tag(registry.STAGE)
        own = record.upstream()
        runs = {name: runs[0] for name, runs in find.makers(store, own).items() if runs}
        stage_run = store.run(record.tag(registry.STAGE_RUN)) or runs.get(stage)
        rebuild = store.run(record.tag(registry.REBUILD_RUN))
        registering = store.run(model_version.run_id)
        looked_at = (
            *checks.of_commit(project, record),
            *checks.of_files(record),
            *checks.of_stages(project, record, own),
            *checks.of_runs(record, own, runs, stage_run, rebuild),
            checks.of_model(store, record, Path(folder)),
            *checks.of_export(store, record, Path(folder)),
        )
    makers = [run for run in (*runs.values(), stage_run) if run is not None]
    commit = record.tag("git.commit")
    known = git.commit(project, commit) if gate.COMMIT.fits(commit) else ""
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
        subject=git.output(project, "log", "-1", "--format=%s", known) if known else "",
        dirty=record.tag("git.dirty") == "true",
        experiments=tuple(
            sorted({run.data.tags.get(find.EXPERIMENT, "") for run in makers} - {""})
        ),
        lock_sha256=record.tag(LOCK_SHA256),
        params_sha256=record.tag(PARAMS_SHA256),
        profile=record.tag("profile"),
        params=dict(sorted(p for entry in own.values() for p in lineage.flat(entry.params))),
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
        promotions=tuple(asdict(move) for move in model_version.moves),
        checks=looked_at,
    )


def _corpora(record: VersionRecord, own: dict[str, Entry]) -> tuple[TrainingCorpus, ...]:
    outs = {path: digest for entry in own.values() for path, digest in entry.outs.items()}
    recorded_corpora = record.lineage.get("corpora", {})
    names = [name for name in record.tag("corpora").split(", ") if name]
    return tuple(
        TrainingCorpus(
            name,
            recorded_corpora.get(name, {}).get("licence", ""),
            outs.get(paths.raw(name).as_posix()) or recorded_corpora.get(name, {}).get("raw", ""),
            outs.get(paths.clean(name).as_posix())
            or recorded_corpora.get(name, {}).get("clean", ""),
        )
        for name in sorted({*recorded_corpora, *names})
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
