"""What the registry and the store hold of a registered model: what `crywatch trace` begins with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crywatch.core import params
from crywatch.core.atomic import read_json
from crywatch.core.errors import CrywatchError, RegistryError, UnreachableError
from crywatch.tracking import lineage, parent, registry, sweeps, ties
from crywatch.tracking.lineage import Entry
from crywatch.tracking.registry import ModelVersion
from crywatch.tracking.store import Store

NAME = "register.name"  # of params.yaml: the model that a bare number or alias is a version of
SPELLED = re.compile(r"(?:models:/)?(?P<name>[^/@]+)[/@](?P<which>[^/@]+)")
LINEAGE = "lineage.json"

MODEL_DVC = "crywatch.model.dvc"
LOCK_SHA256, PARAMS_SHA256 = "dvc.lock.sha256", "params.sha256"


@dataclass(frozen=True)
class Run:
    """A run of MLflow."""

    run_id: str
    name: str
    status: str
    started_at: str  # ISO 8601, UTC
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """A version, and what was logged beside it when it was registered."""

    version: ModelVersion
    lock: Path | None  # file; None where the registering run does not have it
    params: Path | None
    lineage: dict[str, Any]  # of lineage.json; empty without one
    missing: tuple[str, ...]  # names of artifacts

    @property
    def stages(self) -> dict[str, Entry]:
        """Of the recorded dvc.lock."""
        return {} if self.lock is None else lineage.parse_lock(self.lock.read_text())

    def tag(self, name: str) -> str:
        """Of the version; empty without it."""
        return self.version.tags.get(name, "")


def version(store: Store, which: str, params_file: Path) -> ModelVersion:
    """The registered version that ``which`` names.

    It is an alias or a number (champion, challenger, 3), or one with a model's name
    (cry-detector/3, models:/cry-detector/3, models:/cry-detector@champion).

    Raises
    ------
    CrywatchError
        There is no such version.
    """
    spelled = SPELLED.fullmatch(which)
    name = spelled["name"] if spelled else params.plain(NAME, params_file)
    found = registry.find(store, name, spelled["which"] if spelled else which)
    if found is None:
        raise CrywatchError(
            f"{which}: no such version of {name} is registered: `crywatch register` makes one"
        )
    return found


def recorded(store: Store, found: ModelVersion, scratch: Path) -> Recorded:
    """A version with its artifacts, copied to the folder ``scratch``.

    UnreachableError if the store does not answer; what it does not have is `Recorded.missing`.
    """
    files: dict[str, Path] = {}
    for name in (str(lineage.LOCK), str(params.PARAMS_FILE), LINEAGE):
        try:
            path = registry.download_artifact(store, found, name, scratch / "artifacts")
        except UnreachableError:
            raise
        except RegistryError:
            continue
        if path.is_file():
            files[name] = path
    told = files.get(LINEAGE)
    return Recorded(
        version=found,
        lock=files.get(str(lineage.LOCK)),
        params=files.get(str(params.PARAMS_FILE)),
        lineage=read_json(told) if told else {},
        missing=tuple(
            name
            for name in (str(lineage.LOCK), str(params.PARAMS_FILE), LINEAGE)
            if name not in files
        ),
    )


def run(store: Store, run_id: str) -> Run | None:
    """A run; None where the store does not have it."""
    found = ties.run_or_none(store, run_id)
    return None if found is None else _run(found)


def makers(store: Store, stages: dict[str, Entry]) -> dict[str, Run | None]:
    """Stage to the last run that ended well with that entry of dvc.lock."""
    found = ties.makers(store, stages)
    return {name: _run(runs[0]) if runs else None for name, runs in found.items()}


def promotions(found: ModelVersion) -> list[dict[str, Any]]:
    """How it came to be champion, each time, oldest first."""
    told = json.loads(found.tags.get(registry.PROMOTION) or "[]")
    return [told] if isinstance(told, dict) else told


def tag_reproduction(store: Store, name: str, started_ms: int) -> list[str]:
    """Tag the stages of rebuilds, since a time, that reproduce a version; the rebuilds' run ids."""
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{sweeps.REPRODUCES}` = '{name}' and attributes.start_time >= {started_ms}",
    )
    tops = [one.info.run_id for one in found if one.data.tags.get(parent.STAGE) == "rebuild"]
    for top in tops:
        for child in parent.children(store, top):
            store.client.set_tag(child.info.run_id, sweeps.REPRODUCES, name)
    return tops


def _run(found: Any) -> Run:
    started = datetime.fromtimestamp(found.info.start_time / 1000, UTC)
    return Run(
        run_id=found.info.run_id,
        name=found.info.run_name or "",
        status=found.info.status,
        started_at=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        tags=dict(found.data.tags),
        metrics=dict(found.data.metrics),
    )
