"""A project of two stages in git and DVC, with a registry of its own, to be retrained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.retrain_cases import commit, make_project, switch, write_params

STAGE = """
import hashlib, os, shutil, sys, time
from pathlib import Path
import yaml
from train import RATE

values = yaml.safe_load(Path("params.yaml").read_text())
if sys.argv[1] == "download":
    # Times of now: DVC knows a file by inode, size and time, and an inode may come again.
    folder = values["corpus"][sys.argv[2]]["folder"]
    shutil.copytree(folder, f"data/raw/{sys.argv[2]}", copy_function=shutil.copyfile)
else:
    switch = Path(os.environ["TEST_RETRAIN_SWITCH"])
    if (switch / "fail").is_file():
        raise SystemExit(f"ValueError: in {Path.cwd()}")
    if (switch / "hold").is_file():
        (switch / "holding").touch()
        time.sleep(300)
    sounds = sorted(Path("data/raw").rglob("*.wav"))
    content = "".join(path.name + path.read_text() for path in sounds)
    Path("data/model").mkdir()
    Path("data/model/model").write_text(f"{content} {values['train']} {RATE}")
"""
CLI = """
import argparse, json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("command")
for name in ("by", "reason", "json"):
    parser.add_argument(f"--{name}")
asked = parser.parse_args()
store = Path.cwd().parents[3] / "registry.json"
versions = json.loads(store.read_text()) if store.is_file() else []
model = Path("data/model/model").read_text()
already = model in versions
versions += [] if already else [model]
store.write_text(json.dumps(versions))
gate = {"name": "no_worse", "slice": "pooled", "passed": True, "said": asked.reason}
told = {"version": versions.index(model) + 1, "promoted": True, "already": already}
Path(asked.json).write_text(json.dumps(told | {"gates": [gate], "why": asked.by}))
"""


@pytest.fixture(scope="module")
def retrained_template(tmp_path_factory) -> Path:
    """Made once."""
    folder = tmp_path_factory.mktemp("template")
    project = make_project(folder)
    (project / "stage.py").write_text(STAGE)
    (project / "src" / "crywatch").mkdir()
    (project / "src" / "crywatch" / "__init__.py").touch()
    (project / "src" / "crywatch" / "cli.py").write_text(CLI)
    commit(project)
    return folder


@pytest.fixture
def retrained(retrained_template, tmp_path, monkeypatch) -> Path:
    shutil.copytree(retrained_template, tmp_path / "all", symlinks=True)
    project = tmp_path / "all" / "project"
    write_params(project)
    commit(project)
    monkeypatch.setenv("TEST_RETRAIN_SWITCH", str(switch(project)))
    switch(project).mkdir()
    return project
