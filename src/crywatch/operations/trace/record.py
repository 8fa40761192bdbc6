"""What was logged beside a version of a registered model when it was registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from crywatch.core import gate, params
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.tracking import find, lineage, registry
from crywatch.tracking.lineage import Entry
from crywatch.tracking.registry import ModelVersion
from crywatch.tracking.store import Store

LINEAGE = "lineage.json"
ARTIFACTS = (str(lineage.LOCK), str(params.PARAMS_FILE), LINEAGE)  # of a version's run
MODEL_DVC = "crywatch.model.dvc"
LOCK_SHA256, PARAMS_SHA256 = "dvc.lock.sha256", "params.sha256"


@dataclass(frozen=True)
class VersionRecord:
    """A version, and what was logged beside it when it was registered."""

    version: ModelVersion
    files: Mapping[str, Path]  # name, of those in `ARTIFACTS` that its run has
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


def version(store: Store, which: str, project: Path) -> ModelVersion:
    """The registered version that ``which`` names; a bare number or alias is of `register.name`.

    CrywatchError if there is none.
    """
    name = params.plain("register.name", project / params.PARAMS_FILE)
    model_version = find.version(store, which, name)
    if model_version is None:
        raise CrywatchError(
            f"{which}: no such version of {name} is registered: `crywatch register` makes one"
        )
    return model_version


def fetch(store: Store, version: ModelVersion, scratch: Path) -> VersionRecord:
    """A version with its artifacts, copied to the folder ``scratch``.

    UnreachableError if the store does not answer; what it does not have is left out.
    """
    files: dict[str, Path] = {}
    for name in ARTIFACTS:
        try:
            files[name] = registry.download_artifact(store, version, name, scratch / "artifacts")
        except UnreachableError:
            raise
        except RegistryError:
            continue
    lock = files.get(str(lineage.LOCK))
    return VersionRecord(
        version,
        files,
        _lineage(files[LINEAGE]) if LINEAGE in files else {},
        lineage.parse_lock(lock.read_text(errors="replace")) if lock else {},
    )


def _lineage(path: Path) -> dict[str, Any]:
    """Content of lineage.json; GateError where it is none."""
    about: dict[str, Any] = gate.read(dict[str, Any], path)
    for name in ("corpora", "stages"):
        gate.typed(dict[str, dict[str, str]], about.get(name, {}), f"{path.name}: {name}")
    return about


def in_order(stages: dict[str, Entry]) -> list[str]:
    """Names of stages, each after those that it needs."""
    needs = {name: lineage.upstream(name, stages) for name in sorted(stages)}
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise CrywatchError(f"dvc.lock: {', '.join(error.args[1])} need each other") from error
