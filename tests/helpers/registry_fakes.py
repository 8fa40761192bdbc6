"""A registry of one version, written into the store as `crywatch register` writes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import RegistryError
from crywatch.tracking import lineage, registry
from crywatch.tracking.registry import ModelVersion
from crywatch.tracking.store import Store

NAME = "cry-detector"
PROMOTION = {
    "at": "2026-11-21T08:00:00Z",
    "by": "Ada",
    "why": "better on pooled seconds",
    "from_version": 2,
    "to_version": 3,
    "kind": "promotion",
}


@dataclass
class Registry:
    """What stands in for `tracking.registry`: the version's model is a folder beside the store."""

    version: ModelVersion
    model: Path

    def find(self, store: Store, name: str, which: str) -> ModelVersion | None:
        known = (str(self.version.version), *self.version.aliases)
        return self.version if name == NAME and which in known else None

    def download(self, store: Store, version: ModelVersion, out_dir: Path) -> Path:
        if files_sha256([self.model]) != version.tags[registry.DIGEST]:
            raise RegistryError(f"{NAME} 3: its files were changed since")
        return Path(shutil.copytree(self.model, out_dir))

    def download_artifact(self, store: Store, version: ModelVersion, name: str, out_dir: Path):
        from mlflow.exceptions import MlflowException

        out_dir.mkdir(parents=True, exist_ok=True)
        try:
            return Path(store.client.download_artifacts(version.run_id, name, str(out_dir)))
        except (MlflowException, OSError) as error:
            raise RegistryError(f"run {version.run_id} has no {name}") from error


def register(
    store: Store, monkeypatch, stage: str, model: Path, kept: Path, tags: dict[str, str]
) -> Registry:
    """Version 3, the champion: the model that ``stage`` made, with dvc.lock and params.yaml."""
    stages = lineage.lock_stages()
    upstream = [*lineage.upstream(stage, stages), stage]
    told = {
        "corpora": {"esc50": {"licence": "CC BY-NC 3.0", "raw": "", "clean": ""}},
        "stages": {name: stages[name].outs for name in upstream},
    }
    run = store.client.create_run(store.experiment_id, run_name=f"register {NAME}")
    store.client.log_text(run.info.run_id, json.dumps(told), "lineage.json")
    for name in ("dvc.lock", "params.yaml"):
        store.client.log_artifact(run.info.run_id, name)
    store.client.log_metric(run.info.run_id, "gates", 4)
    store.client.set_terminated(run.info.run_id)
    shutil.copytree(model, kept)
    version = ModelVersion(
        name=NAME,
        version=3,
        run_id=run.info.run_id,
        aliases=("champion",),
        tags={
            registry.DIGEST: files_sha256([model]),
            "crywatch.model.dvc": lineage.dvc_digest(model),
            "crywatch.stage": stage,
            "dvc.lock.sha256": file_sha256("dvc.lock"),
            "params.sha256": file_sha256("params.yaml"),
            "profile": "tiny",
            "git.dirty": "false",
            "corpora": "esc50",
            "crywatch.promotion": json.dumps([PROMOTION]),
        }
        | tags,
    )
    made = Registry(version, kept)
    for name in ("find", "download", "download_artifact"):
        monkeypatch.setattr(registry, name, getattr(made, name))
    return made
