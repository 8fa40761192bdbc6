"""A temporary project with its own SQLite store, for the tests of tracking."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from crywatch.tracking import launch, parent, store
from tests.helpers.tracking_cases import PARAMS


@dataclass(frozen=True)
class NewProject:
    """One stage in a folder without a store."""

    folder: Path
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def new_project(tmp_path_factory) -> NewProject:
    """MLflow takes seconds to make its tables: made once, by a stage, and copied for each test."""
    folder = tmp_path_factory.mktemp("new")
    config = PARAMS | {"tracking": PARAMS["tracking"] | {"experiment": "new"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(config))
    # Sent by the stage's own process: a busy machine takes minutes for the tables.
    code = "from crywatch import tracking\nfrom crywatch.tracking import launch, sender\n"
    code += "launch.ensure = lambda *of: None\n"
    code += "with tracking.stage_run('split'): pass\n"
    code += "assert not [one for one in sender.deliver() if one.left]"
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=folder, env=keep, capture_output=True, text=True)
    return NewProject(folder, said)


@pytest.fixture
def empty_store(new_project) -> Path:
    """A store with MLflow's tables and without the experiment of the tests."""
    return new_project.folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, monkeypatch, empty_store) -> Path:
    """A project folder that is the working directory, with an empty store.

    Stages of the test's own process begin no sender: what asks the store sends first (`runs`).
    """
    import mlflow

    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    # mlflow.set_tracking_uri writes it; setting it first makes monkeypatch clean up after.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "ensure", lambda target, linger_s: None)
    # Whatever pytest itself runs under, and outside the project's own git repository.
    monkeypatch.setattr(parent, "rebuild_process", parent.this_process)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    # Absolute: MLflow keeps one store open for each address in a process.
    here = PARAMS | {"tracking": PARAMS["tracking"] | {"uri": f"sqlite:///{tmp_path}/mlflow.db"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(here))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    store.open_store.cache_clear()
    yield tmp_path
    store.open_store.cache_clear()
    mlflow.set_tracking_uri(None)
