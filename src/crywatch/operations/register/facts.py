"""Where a model folder comes from: its stage, its corpora, and the stages that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crywatch.core import params, paths
from crywatch.core.atomic import read_json
from crywatch.core.digest import file_sha256
from crywatch.core.errors import RegistryError
from crywatch.core.models import describe
from crywatch.corpora.terms import terms_of_model
from crywatch.tracking import lineage
from crywatch.tracking.lineage import Entry

METRICS = "metrics.json"


@dataclass(frozen=True)
class ModelOrigin:
    """What dvc.lock and git say of a model folder."""

    stage: str  # calibrate@robust; "" for a folder that no stage made
    dvc: str  # DVC's digest of the folder
    commit: lineage.Commit
    profile: str
    lock_sha256: str  # "" without dvc.lock
    params_sha256: str
    stages: dict[str, dict[str, str]]  # that made it, each path to DVC digest; its own too

    def as_tags(self) -> dict[str, str]:
        """For the registered version and its run."""
        return {
            "crywatch.model.dvc": self.dvc,
            "crywatch.stage": self.stage,
            "git.commit": self.commit.sha,
            "git.dirty": str(self.commit.dirty).lower(),
            "dvc.lock.sha256": self.lock_sha256,
            "params.sha256": self.params_sha256,
            "profile": self.profile,
        }


def origin(folder: Path) -> ModelOrigin:
    """Of the model ``folder``.

    RegistryError if dvc.lock says that they should be others: nothing could make them again.
    """
    stages = lineage.lock_stages()
    path = folder.as_posix()
    stage = next((name for name, entry in stages.items() if path in entry.outs), "")
    digest = lineage.dvc_digest(folder)
    entry = stages.get(stage, Entry())
    if stage and entry.outs[path] != digest:
        raise RegistryError(
            f"{folder} is not what dvc.lock says that {stage} made: run `dvc repro {stage}`, or "
            f"`dvc checkout {folder}` to have it back"
        )
    made_by = {stage, *lineage.upstream(stage, stages)} if stage else set()
    return ModelOrigin(
        stage=stage,
        dvc=digest,
        commit=lineage.commit(),
        profile=str(params.plain("profile")),
        lock_sha256=file_sha256(lineage.LOCK) if lineage.LOCK.is_file() else "",
        params_sha256=file_sha256(params.PARAMS_FILE),
        stages={name: stages[name].outs for name in sorted(made_by)},
    )


def is_current(stage: str, folder: Path) -> bool:
    """Whether ``stage`` ran, and last on what ``folder`` holds now, by dvc.lock."""
    if not lineage.LOCK.is_file():
        return False
    stages = yaml.load(lineage.LOCK.read_text(), lineage.YamlLoader)["stages"]
    for dep in stages.get(stage, {}).get("deps", []):
        if folder.is_relative_to(dep["path"]) and dep["path"].startswith(f"{paths.DATA}/"):
            return dep.get("md5") == lineage.dvc_digest(Path(dep["path"]))
    return False


def lineage_of(model: Path, origin: ModelOrigin) -> dict[str, Any]:
    """`lineage.json`: the corpora with digests and terms, the stages, the metrics."""
    terms = terms_of_model(describe(model))
    metrics = model / METRICS
    return {
        "model": {"stage": origin.stage, "dvc": origin.dvc},
        "git": {"commit": origin.commit.sha, "dirty": origin.commit.dirty},
        "profile": origin.profile,
        "dvc_lock_sha256": origin.lock_sha256,
        "params_sha256": origin.params_sha256,
        "corpora": {
            name: {"licence": licence} | _of_corpus(name, origin.stages)
            for name, licence in zip(terms.corpora, terms.licences, strict=True)
        },
        "commercial_use": terms.commercial_use,
        "stages": origin.stages,
        "metrics": read_json(metrics) if metrics.is_file() else {},
    }


def _of_corpus(name: str, stages: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    digests = {path: digest for outs in stages.values() for path, digest in outs.items()}
    return {
        kind: digests.get(folder(name).as_posix(), "")
        for kind, folder in (("raw", paths.raw), ("clean", paths.clean))
    }
