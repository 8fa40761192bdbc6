"""Hydra's sweeps: jobs in copies of the project, one parent, and experiments of DVC."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import ConfigError
from crywatch.operations import sweep, worktree
from crywatch.tracking import parent, store, sweeps, ties
from tests.helpers.rebuild_cases import crywatch, git, tiny_project
from tests.helpers.tracking_cases import runs

pytest_plugins = ["tests.helpers.tracking_fixtures"]


@pytest.fixture
def here(tmp_path, empty_store, project, monkeypatch) -> Path:
    folder = tiny_project(tmp_path / "a project é", empty_store)
    monkeypatch.chdir(folder)
    store.open_store.cache_clear()
    return folder


def test_jobs_run_at_a_time_under_one_parent_and_become_experiments(here):
    with open("stage.py", "a") as script:
        script.write("# not committed\n")
    before = git(here, "status", "--porcelain")
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "mine.top_t=4,5"]
    done = crywatch(here, "sweep", *words, "size=large", CRYWATCH_SWEEP="wide")
    assert done.code == 0, done.said
    [top] = runs(**{parent.STAGE: "sweep"})
    assert top.data.tags[sweeps.SWEEP] == "wide" and top.info.status == "FINISHED"
    rebuilds = runs(**{parent.STAGE: "rebuild"})
    assert {run.data.tags[parent.PARENT] for run in rebuilds} == {top.info.run_id}
    table = {row.name: row for row in sweeps.rows(store.open_store(), top.info.run_id)}
    assert sorted(table) == ["wide-0", "wide-1"]
    for name, top_t in (("wide-0", 4), ("wide-1", 5)):
        row = table[name]
        assert row.overrides == {"mine.top_t": str(top_t), "train.width": "5"}
        assert row.metrics["objective"] == row.metrics["model/auc"] == 0.5 + top_t / 100
        commit = ties.experiment_commit(here, name)
        assert yaml.safe_load(git(here, "show", f"{commit}:params.yaml"))["mine"]["top_t"] == top_t
        assert "# not committed" in git(here, "show", f"{commit}:stage.py")
        found = ties.find(store.open_store(), here, name)
        assert (found.commit, found.unknown) == (commit, ())
        assert row.run_id in [one.run_id for one in found.rebuilds]
        assert f"| {name} | finished | {top_t} | 5 |" in done.said
    assert git(here, "status", "--porcelain") == before, "the working tree stays as it is"
    left = [path.name for path in (here / worktree.FOLDER).iterdir() if path.is_dir()]
    assert left == []


def test_a_job_that_fails_leaves_its_copy_and_its_log(here):
    done = crywatch(here, "sweep", "train.width=nothing", "sweep.metric=''", CRYWATCH_SWEEP="bad")
    assert done.code != 0
    assert "bad-0 (train.width=nothing sweep.metric=''): `dvc repro` failed" in done.said
    assert "failed to reproduce" in (here / sweep.OUTPUTS / "bad" / "0" / sweep.LOG).read_text()
    assert (here / worktree.FOLDER / "bad-0").is_dir()
    assert "| bad-0 | failed |" in done.said
    assert not ties.experiment_commit(here, "bad-0")


@pytest.mark.parametrize(
    "override",
    [
        "tracking.password=x",
        "+hub_token=x",
        "corpus.key.api_key=x",
        "tracking.uri=postgresql://me:swordfish@host/db",
    ],
)
def test_secrets_are_refused_before_anything_is_run(here, override):
    done = CliRunner().invoke(cli.app, ["sweep", "-m", override])
    assert isinstance(done.exception, ConfigError)
    assert "environment" in str(done.exception)
    assert "swordfish" not in str(done.exception)
    assert not (here / sweep.OUTPUTS).exists()


def test_a_name_must_be_one_of_a_folder(here, monkeypatch):
    monkeypatch.setenv(sweeps.VARIABLE, "../up")
    with pytest.raises(ConfigError, match="letters, digits"):
        sweep.main(["mine.top_t=1"], here)


class FakeCopy:
    folder = Path("copy")

    def __init__(self, files: dict) -> None:
        data = {name: {"data": values} for name, values in files.items()}
        self.said = "a warning\n" + json.dumps({"": {"data": data}})

    def dvc(self, *args: str) -> subprocess.CompletedProcess[str]:
        assert args == ("metrics", "show", "--json")
        return subprocess.CompletedProcess(args, 0, self.said)


def test_the_metric_is_named_by_its_keys():
    copy = FakeCopy({"a.json": {"robust/robust": {"auc": 0.5}}, "b.json": {"auc": 1, "n": "x"}})
    assert sweep.objective(copy, "robust/robust/auc") == 0.5
    assert sweep.objective(copy, "auc") == 1.0
    assert sweep.objective(copy, "") is None
    with pytest.raises(ConfigError, match="there are auc, robust/robust/auc"):
        sweep.objective(copy, "n")
    with pytest.raises(ConfigError, match="2 files have it"):
        sweep.objective(FakeCopy({"a": {"auc": 1}, "b": {"auc": 2}}), "auc")
    many = FakeCopy({"a": {f"model{i}/auc": 1 for i in range(900)}})
    with pytest.raises(ConfigError, match="nearest are .*model77/auc.* has all 900") as told:
        sweep.objective(many, "model77/aux")
    assert len(str(told.value)) < 400
    with pytest.raises(ConfigError, match="made none"):
        sweep.objective(FakeCopy({}), "auc")
