"""The whole chain as it is used: git, DVC, stages with runs, the registry and its gates, drift."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml

from crywatch.core import params
from crywatch.operations.retrain import Record, RetrainConfig, run
from crywatch.tracking import registry, store
from tests.helpers.retrain_cases import IDENTITY, commit, git, put, runs
from tests.helpers.split_cases import cry_like
from tests.helpers.tracking_cases import ROOT

pytestmark = pytest.mark.nightly

STAGE = """
import json, shutil, sys
from pathlib import Path
from tests.helpers.chain_cases import write_model, write_sounds
from crywatch import tracking
from crywatch.core import params

name = sys.argv[1]
if name == "download":
    shutil.copytree(params.plain("corpus.esc50.folder"), "data/raw/esc50")
elif name == "sounds":
    write_sounds()
else:
    with tracking.stage_run("calibrate", "robust") as log:
        told = json.loads(Path("data/raw/esc50/told.json").read_text())
        if Path(params.plain("corpus.esc50.folder") + ".broken").exists():
            raise ValueError("not now")
        write_model(Path("data/calibrate/robust"), told["sign"])
"""
PLAN = {
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
            "deps": ["stage.py", "data/raw/esc50"],
            "outs": ["data/calibrate/${item}"],
        },
    },
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "stage.py").write_text(STAGE)
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": PLAN}))
    for name in (".gitignore", ".dvcignore"):
        (project / name).write_text((ROOT / name).read_text())
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values |= {"data": {"source": "generated", "mirror": ""}}
    values["corpora"] = {"esc50": {"folder": str(tmp_path / "corpus")}}
    values["corpus"]["esc50"]["folder"] = str(tmp_path / "corpus")
    values["register"]["first"] = {
        "main": 0.0,
        "false_alarms_per_hour": 3600.0,
        "infants_over_twice": 1.0,
    }
    values["register"]["infants"] = {"model": "mahalanobis", "more": 0}
    values["drift"] |= {"reference_clips": 20, "min_recordings": 4}
    values["retrain"] |= {"recordings": str(tmp_path / "recent"), "heartbeat_s": 1.0}
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "recent").mkdir()
    for n in range(4):
        soundfile.write(tmp_path / "recent" / f"{n}.wav", cry_like(100 + n), 16000)
    tell(project, 1)
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
    yield project
    store.open_store.cache_clear()


def tell(project: Path, sign: int) -> None:
    put(project.parent / "corpus" / "told.json", json.dumps({"sign": sign}))


def retrain(project: Path) -> Record:
    config = params.section("retrain", RetrainConfig, project / params.PARAMS_FILE)
    return run(config, project, by="a test")


def champion() -> int | None:
    found = registry.find(registry.open_registry(), "cry-detector", registry.CHAMPION)
    return None if found is None else found.version


def test_models_are_promoted_refused_and_kept_as_the_record_says(project):
    first = retrain(project)
    assert (first.outcome, first.version) == ("promoted", 1), first.tail
    assert champion() == 1 and "no champion yet" in " ".join(first.notes)
    version = registry.find(registry.open_registry(), "cry-detector", "1")
    assert version.tags["git.commit"] == first.kept_commit
    assert version.tags["git.dirty"] == "false" and version.tags[registry.STAGE_RUN]
    assert git(project, "status", "--porcelain") == ""

    second = retrain(project)
    assert (second.outcome, second.steps) == ("nothing", ()), second.reason
    assert second.drift is not None and second.drift.n_recent == 4, second.notes

    tell(project, -1)
    broken = project.parent / "corpus.broken"
    broken.touch()
    failed = retrain(project)
    assert (failed.outcome, failed.failed_step) == ("failed", "stage calibrate@robust")
    assert "not now" in failed.tail and champion() == 1

    broken.unlink()
    worse = retrain(project)
    assert (worse.outcome, worse.version) == ("refused", 2), (worse.reason, worse.tail)
    assert worse.continued == failed.id and champion() == 1
    assert worse.reason.startswith("version 2: refused over version 1: ")
    lost = [gate for gate in worse.registration.gates if not gate.passed]
    assert "better_on_main" in [gate.name for gate in lost]
    page = (project / worse.report).read_text()
    assert "The challenger was refused" in page and all(gate.slice in page for gate in lost)

    outcomes = [line.outcome for line in runs(project).history()]
    assert outcomes == ["promoted", "nothing", "failed", "refused"]
    assert retrain(project).outcome == "nothing"
