"""What the stages of a tiny project write that ends in a detector that can be registered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from crywatch.core import paths
from crywatch.core.models import ModelFolder, load, save
from crywatch.tracking import store
from tests.helpers.register_cases import plan, write_tables
from tests.helpers.retrain_cases import IDENTITY, commit, git
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.split_cases import cry_like, noise, row
from tests.helpers.tracking_cases import ROOT

BETWEEN = 0.35  # of the logits of cries and of noise


def plan_of(corpus: str) -> dict[str, Any]:
    """Stages of a ``stage.py`` that ends in a detector, from one corpus."""
    return {
        "download": {
            "foreach": "${corpora}",
            "do": {
                "cmd": "python stage.py download ${key}",
                "deps": ["stage.py", "${item.folder}"],
                "params": ["corpus.${key}"],
                "outs": ["data/raw/${key}"],
            },
        },
        "sounds": {
            "cmd": "python stage.py sounds",
            "deps": ["stage.py"],
            "outs": [f"data/{name}" for name in ("sounds", "split", "mixtures")],
        },
        "calibrate": {
            "foreach": ["robust"],
            "do": {
                "cmd": "python stage.py calibrate",
                "deps": ["stage.py", f"data/raw/{corpus}"],
                "outs": ["data/calibrate/${item}"],
            },
        },
    }


def make_chain(
    project: Path, stage: str, corpus: str, drift: Mapping[str, Any], retrain: Mapping[str, Any]
) -> Path:
    """A project of these stages, whose ``corpus`` lies in ``corpus`` beside it."""
    project.mkdir()
    (project / "stage.py").write_text(stage)
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": plan_of(corpus)}))
    for name in (".gitignore", ".dvcignore"):
        (project / name).write_text((ROOT / name).read_text())
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values |= {"data": {"source": "generated", "mirror": ""}}
    values["corpora"] = {corpus: {"folder": str(project.parent / "corpus")}}
    values["corpus"][corpus]["folder"] = str(project.parent / "corpus")
    values["register"]["first"] = {
        "main": 0.0,
        "false_alarms_per_hour": 3600.0,
        "infants_over_twice": 1.0,
    }
    values["register"]["infants"] = {"model": "mahalanobis", "more": 0}
    values["drift"] |= drift
    values["retrain"] |= {"heartbeat_s": 1.0} | retrain
    values["listen"]["look_s"] = 0.5
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    return project


def enter_chain(project: Path, monkeypatch) -> None:
    """Work in the project, which becomes one of git and DVC."""
    monkeypatch.chdir(project)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT)]))
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    git(project, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=project, check=True)
    commit(project)
    store.open_store.cache_clear()


def write_sounds() -> None:
    """Tables of cries, other sounds and soundscapes of all parts, and their audio."""
    clips, made, events, plans = [], [], [], []
    folder = paths.DATA / "sounds"
    for part, count in (("train", 6), ("val", 8), ("test", 5)):
        for n in range(count):
            seed = 100 * len(part) + n
            cry, other = cry_like(seed, 3.0), noise(seed, 3.0)
            about = {"split": part, "canonical": True, "cluster_id": None}
            for kind, wave, label in (("cry", cry, "cry"), ("rain", other, "other")):
                name = f"esc50/{kind}-{part}-{n}"
                about |= {"label": label, "category": kind, "group_id": name}
                clips.append(row(folder, name, wave, **about))
            name = f"soundscapes/{part}-{n:05d}"
            about |= {"label": "cry", "category": "10s", "group_id": f"soundscapes/{part}"}
            wave = np.concatenate([other[:32000], cry[:32000], other[:32000]])
            made.append(row(folder, name, wave, **about) | {"source_path": "esc50"})
            events.append((name, 2.0, 4.0, "cry"))
            plans.append(plan(name, part, 5.0, f"esc50/cry-{part}-{n}"))
    write_tables(clips, made, events, plans)


def write_model(folder: Path, sign: float) -> None:
    """A network of random weights, between whose scores of the two kinds of sound 0.5 is put.

    With a negative ``sign`` it takes each for the other; a larger one makes it surer.
    """
    write_robust(folder, corpora=["esc50"])
    model = load(folder)
    weights = dict(model.weights)
    weights["backbone.classifier.bias"] = weights["backbone.classifier.bias"].clone()
    weights["backbone.classifier.bias"][1] -= BETWEEN
    for name in ("weight", "bias"):
        weights[f"backbone.classifier.{name}"] = sign * weights[f"backbone.classifier.{name}"]
    save(folder, ModelFolder(model.description, weights))
