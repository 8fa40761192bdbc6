"""A project that was moved or copied: artifacts are where it is; an experiment that was deleted."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crywatch import tracking
from crywatch.core.errors import UnreachableError
from crywatch.tracking import registry, store
from tests.helpers.robust_model_cases import write_robust
from tests.helpers.tracking_cases import artifacts, runs, sent, stage, stored
from tests.tracking.test_registry import NAME, add

pytest_plugins = ["tests.helpers.tracking_fixtures"]


def go_to(folder: Path, monkeypatch) -> None:
    """Work in a copy of the project, whose params.yaml names its own store as in any project."""
    values = (folder / "params.yaml").read_text()
    old = values.partition("sqlite:///")[2].partition("/mlflow.db")[0]
    (folder / "params.yaml").write_text(values.replace(old, str(folder)))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
    monkeypatch.chdir(folder)
    store.open_store.cache_clear()


@pytest.mark.parametrize("kind", ["moved", "copied", "without artifacts"])
def test_artifacts_go_below_the_project_that_runs_it_and_earlier_ones_are_found(
    project, tmp_path_factory, monkeypatch, kind
):
    with tracking.stage_run("split") as log:
        log.text("first", "notes.md")
    [first] = runs(stage="split")
    add(registry.open_registry(), write_robust(Path("one"), corpora=["esc50"]))
    there = tmp_path_factory.mktemp("elsewhere") / "ein Ordner"
    shutil.copytree(project, there)
    if kind == "moved":
        shutil.rmtree(project / "mlartifacts")
        (project / "mlflow.db").unlink()
    elif kind == "without artifacts":
        shutil.rmtree(there / "mlartifacts")
    before = sorted(path for path in project.rglob("*") if "data" not in path.parts)
    go_to(there, monkeypatch)
    with tracking.stage_run("score") as log:
        log.text("second", "notes.md")
    second = stage("score")
    opened = store.open_store()
    assert (there / "mlartifacts" / second.info.run_id / "artifacts" / "notes.md").is_file()
    own = project if kind == "without artifacts" else there
    for run, text in ((first, "first"), (second, "second")):
        assert artifacts(opened.client.get_run(run.info.run_id)) >= {"notes.md"}
        path = opened.client.download_artifacts(run.info.run_id, "notes.md", str(there))
        assert Path(path).read_text() == text
    uri = opened.client.get_run(first.info.run_id).info.artifact_uri
    assert uri == (own / "mlartifacts" / first.info.run_id / "artifacts").as_uri()
    version = registry.find(opened, NAME, "1")
    assert registry.download(opened, version, there / "model").is_dir()
    source = opened.client.get_model_version_download_uri(NAME, "1")
    assert source.startswith((own / "mlartifacts").as_uri())
    assert sorted(path for path in project.rglob("*") if "data" not in path.parts) == before


def test_a_deleted_experiment_says_what_mends_it_and_nothing_is_lost(project):
    with tracking.stage_run("split"):
        pass
    [first] = runs(stage="split")
    opened = store.open_store()
    opened.client.delete_experiment(opened.experiment_id)
    store.open_store.cache_clear()
    with pytest.raises(UnreachableError, match="experiment 'cry' .* was deleted: `") as error:
        registry.open_registry()
    with tracking.stage_run("score") as log:
        log.metrics({"a": 1.0})
    assert not sent()
    command = str(error.value).partition("`")[2].partition("`")[0]
    address, *words = shlex.split(command)
    assert words[0] == "mlflow"
    environment = dict(os.environ) | {"MLFLOW_TRACKING_URI": address.partition("=")[2]}
    subprocess.run([sys.executable, "-m", *words], env=environment, check=True, cwd="/")
    assert sent()
    assert {run.data.tags["stage"] for run in stored() if "stage" in run.data.tags} == {
        "split",
        "score",
    }
    assert stage("score").data.metrics["a"] == 1.0
    assert stage("split").info.run_id == first.info.run_id


def test_a_number_that_is_none_is_not_shown_as_0_on_the_model(project):
    with tracking.stage_run("split") as log:
        log.metrics({"auc": float("nan"), "loss": 0.5, "worst": float("inf")})
        log.model("robust", write_robust(Path("one"), corpora=["esc50"]))
    [run] = runs(stage="split")
    assert run.data.metrics["auc"] != run.data.metrics["auc"]
    [model] = store.open_store().client.search_logged_models([run.info.experiment_id])
    shown = {metric.key: metric.value for metric in model.metrics}
    assert "auc" not in shown and shown["loss"] == 0.5
