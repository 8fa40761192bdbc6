"""Whether what can be checked of a version's lineage holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.core import gate, git, params
from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.operations import exported
from crywatch.operations.register import devices
from crywatch.operations.trace.record import (
    LINEAGE,
    LOCK_SHA256,
    MODEL_DVC,
    PARAMS_SHA256,
    VersionRecord,
)
from crywatch.tracking import entries, lineage, registry
from crywatch.tracking.lineage import Entry
from crywatch.tracking.store import Store

if TYPE_CHECKING:
    from crywatch.tracking.store import Run

OK, DIFFERS, MISSING = "ok", "differs", "missing"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    state: str  # ok, differs, missing
    said: str


def of_commit(project: Path, record: VersionRecord) -> Iterator[Check]:
    """Whether its commit is here, and had all of the working tree."""
    commit = record.tag("git.commit")
    if not commit:
        yield Check("commit", MISSING, "none is recorded: it was registered outside of git")
    elif not gate.COMMIT.fits(commit):
        yield Check("commit", DIFFERS, f"the version's tag git.commit is no commit: {commit!r}")
    elif git.commit(project, commit):
        yield Check("commit", OK, "it is in this repository")
    else:
        yield Check("commit", MISSING, "it is not in this repository: `git fetch` what holds it")
    if record.tag("git.dirty") == "true":
        yield Check("working tree", MISSING, "what was not committed then is recorded nowhere")


def of_files(record: VersionRecord) -> Iterator[Check]:
    """Whether what was logged beside it has the recorded digests."""
    run_id = record.version.run_id
    for what, tag in ((str(lineage.LOCK), LOCK_SHA256), (str(params.PARAMS_FILE), PARAMS_SHA256)):
        sha256 = record.tag(tag)
        if what not in record.files:
            yield Check(what, MISSING, f"run {run_id} does not have it")
        elif not sha256:
            yield Check(what, MISSING, f"the version has no tag {tag} to hold it against")
        elif (actual := file_sha256(record.files[what])) != sha256:
            yield Check(what, DIFFERS, f"its sha256 is {actual}, and {sha256} was recorded")
        else:
            yield Check(what, OK, "what was kept has the recorded sha256")
    if LINEAGE not in record.files:
        yield Check(LINEAGE, MISSING, f"run {run_id} does not have it")


def of_stages(project: Path, record: VersionRecord, own: dict[str, Entry]) -> Iterator[Check]:
    """Whether the kept dvc.lock, lineage.json and the commit say the same of its stages."""
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
    committed = entries.lock_at(project, commit) if gate.COMMIT.fits(commit) else {}
    other = [name for name, entry in own.items() if committed.get(name) != entry]
    if other:
        text = f"not there, so that the kept copy is the only one: {', '.join(other)}"
        yield Check("dvc.lock of the commit", MISSING, text)
    else:
        yield Check("dvc.lock of the commit", OK, "it has the same entries")


def of_runs(
    record: VersionRecord,
    own: Mapping[str, Entry],
    runs: Mapping[str, Run],
    stage_run: Run | None,
    rebuild: Run | None,
) -> Iterator[Check]:
    """Whether the store has the runs that made it."""
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


def of_model(store: Store, record: VersionRecord, folder: Path) -> Check:
    """Whether the registry still has its bytes."""
    try:
        actual = files_sha256([registry.download(store, record.version, folder / "model")])
    except UnreachableError:
        raise
    except (RegistryError, gate.GateError) as error:
        return Check("model", DIFFERS, str(error))
    digest = record.tag(registry.DIGEST)
    if actual != digest:
        return Check("model", DIFFERS, f"its sha256 is {actual}, and {digest} was recorded")
    return Check("model", OK, "the registry's files have the recorded sha256")


def of_export(store: Store, record: VersionRecord, folder: Path) -> Iterator[Check]:
    """Whether the files for devices that were registered with it are still those."""
    digest = record.tag(devices.DIGEST)
    if not digest:
        return
    try:
        kept = registry.download_artifact(store, record.version, devices.EXPORT, folder / "devices")
        differs = exported.trace(kept).differs
    except UnreachableError:
        raise
    except CrywatchError as error:
        yield Check(devices.EXPORT, DIFFERS, str(error))
        return
    if differs:
        text = f"not what was registered: {', '.join(differs)}"
        yield Check(devices.EXPORT, DIFFERS, text)
    elif (actual := files_sha256([kept])) != digest:
        yield Check(devices.EXPORT, DIFFERS, f"its sha256 is {actual}, and {digest} was recorded")
    else:
        yield Check(devices.EXPORT, OK, "the files for devices have the recorded sha256")
