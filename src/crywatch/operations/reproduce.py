"""A registered model checked out again: its commit, lock and bytes, or made anew from the sound."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import gate, params
from crywatch.core.atomic import atomic_dir, write_bytes
from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import CrywatchError, UnreachableError
from crywatch.core.models import own_files
from crywatch.core.project import say
from crywatch.operations import worktree
from crywatch.operations.trace.record import (
    LOCK_SHA256,
    MODEL_DVC,
    PARAMS_SHA256,
    VersionRecord,
    fetch,
    version,
)
from crywatch.tracking import lineage, parent, registry, sender
from crywatch.tracking.lineage import Entry
from crywatch.tracking.store import Store, reached, tagged

RAW = "download"  # stages that bring sound in: publishers may have changed it since


@dataclass(frozen=True)
class Reproduction:
    """What came of it."""

    name: str
    version: int
    recorded_sha256: str  # of the model folder, as the registry has it
    found_sha256: str
    folder: Path  # the copy of the project
    model: Path  # the model folder
    rebuilt: tuple[str, ...]  # stages that were run again
    first_different: str  # stage whose outputs are not those of the lock; empty without one
    runs: tuple[str, ...]  # of MLflow, of the rebuild

    @property
    def same(self) -> bool:
        """Whether the model has the recorded digest."""
        return self.recorded_sha256 == self.found_sha256


def reproduce(
    project: Path, which: str, rebuild: bool = False, out: Path | None = None
) -> Reproduction:
    """Check out what made a version, in a copy of the project, and compare the model's digest.

    The model comes from DVC's cache or remote; with ``rebuild`` its stage and all before it are run
    again, but for raw data, which DVC still has or else is fetched. ``out`` gets the model folder
    if its digest is the recorded one.

    Raises
    ------
    UnreachableError
        The store does not answer.
    CrywatchError
        The version, its commit, its kept dvc.lock or the model's bytes are not to be had, or what
        was kept is not what was recorded.
    """
    store = registry.open_registry(create=False)
    registered = version(store, which, project)
    label = f"{registered.name}/{registered.version}"
    with tempfile.TemporaryDirectory(prefix="crywatch-") as scratch:
        record = fetch(store, registered, Path(scratch))
        stages, model = _must_hold(record, label)
        copy = worktree.checkout(
            project, record.tag("git.commit"), f"reproduce-{registered.name}-{registered.version}"
        )
        for name in (lineage.LOCK, params.PARAMS_FILE):
            write_bytes(copy.folder / name, record.files[str(name)].read_bytes())
    if record.tag("git.dirty") == "true":
        say(f"{label}: made with changes that were not committed: without them it may differ")
    stage = record.tag(registry.STAGE)
    rebuilt: tuple[str, ...] = ()
    runs: list[str] = []
    if rebuild:
        started_ms = int(time.time() * 1000)
        rebuilt = _rebuild(copy, stage, stages, label)
        try:
            with reached():
                runs = _rebuilds(store, label, started_ms)
        except UnreachableError as error:
            say(f"{error}; the rebuild's runs are not known")
    else:
        _fetch(copy, [stage])
    folder = gate.inside(copy.folder, model, f"{label}: the kept {lineage.LOCK}: {stage}")
    if not folder.is_dir():
        raise CrywatchError(f"{folder}: {stage} did not make it")
    result = Reproduction(
        name=registered.name,
        version=registered.version,
        recorded_sha256=record.tag(registry.DIGEST),
        found_sha256=files_sha256(own_files(folder)),
        folder=copy.folder,
        model=folder,
        rebuilt=rebuilt,
        first_different=_first_different(copy, stages, rebuilt),
        runs=tuple(runs),
    )
    if out is not None and result.same:
        with atomic_dir(out) as temp:
            for path in own_files(folder):
                shutil.copy2(path, temp)
    return result


def render(result: Reproduction) -> str:
    """Lines for a terminal."""
    lines = [
        f"{result.name} version {result.version}",
        f"  recorded  sha256 {result.recorded_sha256}",
        f"  found     sha256 {result.found_sha256}",
        "  the same" if result.same else "  NOT the same",
    ]
    if result.rebuilt:
        lines.append(f"  run again: {', '.join(result.rebuilt)}")
    if result.first_different:
        lines.append(f"  first stage whose outputs differ from dvc.lock: {result.first_different}")
    lines += [f"  run       {run_id}" for run_id in result.runs]
    lines.append(f"  model     {result.model}")
    lines.append(f"  checked out in {result.folder}")
    return "\n".join(lines)


def _must_hold(record: VersionRecord, label: str) -> tuple[dict[str, Entry], str]:
    """Stages in the order of their making, and the path of the model folder."""
    for what, tag in ((lineage.LOCK, LOCK_SHA256), (params.PARAMS_FILE, PARAMS_SHA256)):
        path = record.files.get(str(what))
        if path is None:
            raise CrywatchError(f"{label}: run {record.version.run_id} has no {what}")
        if (sha256 := record.tag(tag)) and file_sha256(path) != sha256:
            raise CrywatchError(
                f"{label}: the kept {what} does not have the recorded sha256 {sha256}: "
                "it is not used"
            )
    for tag in ("git.commit", registry.STAGE, MODEL_DVC, registry.DIGEST):
        if not record.tag(tag):
            raise CrywatchError(f"{label}: the version has no tag {tag}: it cannot be reproduced")
    gate.COMMIT(record.tag("git.commit"), record.version.tag_named("git.commit"))
    stage = record.tag(registry.STAGE)
    outs = record.stages.get(stage, Entry()).outs
    model = next((path for path, md5 in outs.items() if md5 == record.tag(MODEL_DVC)), None)
    if model is None:
        raise CrywatchError(f"{label}: by the kept dvc.lock {stage} did not make this model")
    return record.upstream(), model


def _rebuilds(store: Store, label: str, started_ms: int) -> list[str]:
    """Run ids of rebuilds, since a time, that reproduce a version."""
    sender.settle(store)
    condition = f"{tagged(parent.REPRODUCES, label)} and {tagged(parent.STAGE, 'rebuild')}"
    return [
        run.info.run_id
        for run in store.runs(f"{condition} and attributes.start_time >= {started_ms}")
    ]


def _fetch(copy: worktree.Worktree, stages: list[str]) -> None:
    """Outputs of stages as dvc.lock has them, from the cache or else a remote."""
    checkout = copy.dvc("checkout", "--force", *stages)
    if checkout.returncode == 0:
        return
    pull = copy.dvc("pull", "--force", *stages)
    if pull.returncode:
        raise CrywatchError(
            f"{copy.folder}: neither DVC's cache nor a remote has the outputs of "
            f"{', '.join(stages)}: {pull.stdout.strip()[-worktree.TAIL :]}"
        )


def _rebuild(
    copy: worktree.Worktree, stage: str, stages: dict[str, Entry], label: str
) -> tuple[str, ...]:
    raw = [name for name in stages if name.partition("@")[0] == RAW]
    again = [name for name in stages if name not in raw]
    if raw:
        try:
            _fetch(copy, raw)
        except CrywatchError as error:
            say(f"{error}; raw data is fetched again from its source")
            again = [*raw, *again]
    # One by one in order: DVC would otherwise also run the raw data's stages again.
    repro = copy.dvc(
        "repro",
        "--force",
        "--no-run-cache",
        "--single-item",
        *again,
        variables={parent.REPRODUCES_VARIABLE: label},
    )
    if repro.returncode:
        raise CrywatchError(
            f"{copy.folder}: `dvc repro` of {stage} failed: "
            f"{repro.stdout.strip()[-worktree.TAIL :]}"
        )
    return tuple(again)


def _first_different(
    copy: worktree.Worktree, stages: dict[str, Entry], rebuilt: tuple[str, ...]
) -> str:
    now = lineage.parse_lock((copy.folder / lineage.LOCK).read_text())
    for name in stages:
        if name in rebuilt and now.get(name, Entry()).outs != stages[name].outs:
            return name
    return ""
