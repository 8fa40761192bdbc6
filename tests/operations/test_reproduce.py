"""A registered model checked out again and made anew, in a real project with git and DVC."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core import params
from crywatch.core.digest import files_sha256
from crywatch.core.errors import CrywatchError
from crywatch.operations.reproduce import reproduce
from crywatch.tracking import lineage, parent, registry, store
from tests.helpers.rebuild_cases import SOURCES, commit, crywatch, dvc, git, tiny_project
from tests.helpers.registry_fakes import Registry, register
from tests.helpers.tracking_cases import runs

pytestmark = pytest.mark.nightly

pytest_plugins = ["tests.helpers.tracking_fixtures"]

STAGES = ("download", "mine", "train")
MODEL = Path("data/train")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory, new_project) -> Path:
    """The tiny project, rebuilt and committed; its first stage brings the raw sound."""
    folder = tiny_project(
        tmp_path_factory.mktemp("rebuilt") / "a project é", new_project.folder / "mlflow.db"
    )
    for name in ("dvc.yaml", "stage.py", "conf/config.yaml"):
        text = (folder / name).read_text().replace("raw", "download")
        (folder / name).write_text(text)
    params.compose_to_file([], folder)
    dvc(folder, "repro")
    assert crywatch(folder, "deliver").code == 0  # what a copy of it takes along is in the store
    commit(folder, "rebuilt")
    return folder


@pytest.fixture
def here(rebuilt, tmp_path, project, monkeypatch) -> Path:
    """A copy of it that a test may spoil."""
    folder = tmp_path / "project é"
    shutil.copytree(rebuilt, folder, symlinks=True)
    monkeypatch.chdir(folder)
    for name in ("DVC_NO_ANALYTICS", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    store.open_store.cache_clear()
    return folder


@pytest.fixture
def registered(here, monkeypatch) -> Registry:
    tags = {"git.commit": git(here, "rev-parse", "HEAD")}
    return register(store.open_store(), monkeypatch, "train", MODEL, here / "mlartifacts/m", tags)


def test_the_recorded_bytes_come_back_whatever_became_of_the_project(here, registered, tmp_path):
    (here / "params.yaml").write_text("profile: other\nregister: {name: cry-detector}\n" + TRACKING)
    (here / "stage.py").write_text("broken")
    commit(here, "later")
    shutil.rmtree(here / "data")
    before = git(here, "status", "--porcelain")
    made = reproduce(here, "champion", out=tmp_path / "out")
    assert made.same and made.recorded_sha256 == made.found_sha256
    assert made.found_sha256 == files_sha256([tmp_path / "out"])
    assert made.folder.is_relative_to(here / ".dvc/tmp/worktrees")
    assert git(made.folder, "rev-parse", "HEAD") == registered.version.tags["git.commit"]
    assert "profile: tiny" in (made.folder / "params.yaml").read_text()
    assert git(here, "status", "--porcelain") == before
    assert (made.rebuilt, made.runs, made.first_different) == ((), (), "")


TRACKING = "tracking: {uri: 'sqlite:///mlflow.db', artifacts: mlartifacts, experiment: tiny}\n"


def test_made_anew_it_is_the_same_and_raw_sound_is_not_fetched_again(here, registered):
    count = len(runs(**{parent.STAGE: "rebuild"}))
    made = reproduce(here, "3", rebuild=True)
    assert made.same
    assert made.rebuilt == ("mine", "train")
    assert made.first_different == ""
    ran = [run.data.tags for run in runs() if parent.SKIPPED not in run.data.tags]
    assert [sum(t.get(parent.STAGE) == name for t in ran) for name in STAGES] == [1, 2, 2]
    assert len(runs(**{parent.STAGE: "rebuild"})) == count + 1
    tagged = runs(**{"crywatch.reproduces": "cry-detector/3"})
    assert [run.info.run_id for run in tagged if run.data.tags[parent.STAGE] == "rebuild"] == list(
        made.runs
    )
    assert {run.data.tags[parent.STAGE] for run in tagged} >= {"rebuild", "mine", "train"}


def test_a_rebuild_that_differs_names_the_first_stage(here, monkeypatch):
    """The kept lock says that mine made something else."""
    made = lineage.lock_stages()["mine"].outs["data/mine"]
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(lock.replace(made, "0" * 32 + ".dir"))
    tags = {"git.commit": git(here, "rev-parse", "HEAD"), registry.DIGEST: "0" * 64}
    register(store.open_store(), monkeypatch, "train", MODEL, here / "mlartifacts/n", tags)
    done = CliRunner().invoke(cli.app, ["reproduce", "champion", "--rebuild"])
    assert done.exit_code == 1
    assert "NOT the same" in done.stdout
    assert "first stage whose outputs differ from dvc.lock: mine" in done.stdout


def test_what_cannot_be_reproduced_is_said(here, registered, monkeypatch):
    version = registered.version

    def with_tags(**tags: str) -> None:
        registered.version = replace(version, tags=version.tags | tags)

    with_tags(**{"git.commit": "e" * 40})
    with pytest.raises(CrywatchError, match="no such commit"):
        reproduce(here, "3")
    with_tags(**{"dvc.lock.sha256": "0" * 64})
    with pytest.raises(CrywatchError, match="kept dvc.lock does not have the recorded sha256"):
        reproduce(here, "3")
    with_tags(**{"crywatch.model.dvc": "0" * 32})
    with pytest.raises(CrywatchError, match="did not make this model"):
        reproduce(here, "3")
    with_tags(**{registry.DIGEST: ""})
    with pytest.raises(CrywatchError, match="no tag"):
        reproduce(here, "3")
    with_tags(**{registry.DIGEST: "0" * 64})
    done = CliRunner().invoke(cli.app, ["reproduce", "3", "--out", "out"])
    assert done.exit_code == 1 and "NOT the same" in done.stdout
    assert not Path("out").exists()
    with_tags()
    digest = lineage.lock_stages()["train"].outs["data/train"].removesuffix(".dir")
    shutil.rmtree(here / ".dvc/tmp/worktrees")
    shutil.rmtree(here / ".dvc/cache/files/md5" / digest[:2])
    with pytest.raises(CrywatchError, match="neither DVC's cache nor a remote"):
        reproduce(here, "3")


@pytest.mark.parametrize("odd", ["/etc", "../../.."])
def test_a_kept_lock_leads_to_no_folder_outside(here, registered, tmp_path, odd):
    """Its model is said to lie elsewhere."""
    lock = Path("dvc.lock").read_text().replace("path: data/train\n", f"path: {odd}\n")
    store.open_store().client.log_text(registered.version.run_id, lock, "dvc.lock")
    tags = registered.version.tags | {"dvc.lock.sha256": ""}
    registered.version = replace(registered.version, tags=tags)
    with pytest.raises(CrywatchError, match="must lie below its folder"):
        reproduce(here, "3", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("odd", ["--output=evil", "../x", "$(touch evil)", "a\nb"])
def test_a_tag_that_is_no_commit_is_given_to_no_program(here, registered, odd):
    tags = registered.version.tags | {"git.commit": odd}
    registered.version = replace(registered.version, tags=tags)
    with pytest.raises(CrywatchError, match=r"tag git\.commit: .* is not the SHA of a commit"):
        reproduce(here, "3")
