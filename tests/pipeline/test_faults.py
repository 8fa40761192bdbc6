"""Faults of disk and clock while a stage runs: each is said, and nothing is silently wrong."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from crywatch import tracking
from crywatch.core import params
from crywatch.core.atomic import atomic_dir, atomic_path
from crywatch.core.digest import files_sha256
from crywatch.core.errors import CorpusError
from crywatch.tracking import parent, store
from tests.helpers.disk_cases import read_only, resize, small_disk
from tests.helpers.dvc_cases import environment
from tests.helpers.tracking_cases import ROOT, rebuild, runs, sent, stage

pytestmark = pytest.mark.nightly

pytest_plugins = ["tests.helpers.tracking_fixtures"]

CORPUS = "esc50"
ONE_CLIP = ["profile=demo", "data.generator.esc50_clips_per_class=1"]
NO_SERVER = {
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "PYTHONWARNINGS": "ignore",
}


def script(name: str, folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """A stage's script on the corpus, in ``folder``, without a store."""
    return subprocess.run(
        [*before, sys.executable, str(ROOT / "pipelines" / f"{name}.py"), CORPUS],
        cwd=folder,
        env=environment(**NO_SERVER),
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A project with one corpus, downloaded and cleaned."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = params.compose(ONE_CLIP, ROOT / "conf")
    OmegaConf.save(config, folder / params.PARAMS_FILE, resolve=True)
    for name in ("download", "clean"):
        done = script(name, folder)
        assert done.returncode == 0, done.stderr
    # Ends the process that would send what they recorded: nothing changes the folder any more.
    command = [sys.executable, "-m", "crywatch.cli", "deliver"]
    subprocess.run(command, cwd=folder, env=environment(**NO_SERVER), capture_output=True)
    return folder


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed stage said; no traceback, and no more than that."""
    said = [line for line in done.stderr.splitlines() if "MLflow" not in line]
    assert done.returncode == 1 and len(said) == 1, done.stderr
    return said[0]


def kib_of(folder: Path) -> int:
    """Pages that its files fill on a tmpfs."""
    return sum(4 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def halves(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))


# Disk full


@pytest.mark.parametrize("name", ["download", "clean"])
def test_a_full_disk_is_one_line_and_the_stage_can_be_repeated(undisturbed, tmp_path, name):
    made = Path({"download": "data/raw", "clean": "data/clean"}[name])
    shutil.copy(undisturbed / params.PARAMS_FILE, tmp_path)
    with small_disk(tmp_path / "data", 100_000) as disk:
        if name == "clean":
            shutil.copytree(undisturbed / "data/raw", disk / "raw")
        needed = kib_of(undisturbed / made)
        resize(disk, kib_of(disk) + needed // 2)
        said = one_line(script(name, tmp_path))
        assert said.startswith(f"crywatch: {name}@{CORPUS}: ")
        assert "No space left on device" in said and f"{disk.name}/" in said
        assert not (tmp_path / made / CORPUS).exists() and halves(disk) == []
        resize(disk, 100_000)
        again = script(name, tmp_path)
        assert again.returncode == 0, again.stderr
        assert files_sha256([tmp_path / made]) == files_sha256([undisturbed / made])
        assert halves(disk) == []


def test_a_writer_that_hides_the_reason_is_asked_of_the_disk(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        for write in (atomic_path, atomic_dir):
            with (
                pytest.raises(OSError, match=r"cannot write .*model: No space left.*\(half\)") as e,
                write(disk / "model"),
            ):
                raise RuntimeError("half")  # as libsndfile and PyTorch say it
            assert e.value.errno == errno.ENOSPC
            with pytest.raises(CorpusError, match="row 3"), write(disk / "model"):
                raise CorpusError("row 3")  # knows its own reason
        assert list(disk.iterdir()) == []


def test_a_disk_with_room_is_no_reason(tmp_path):
    for write in (atomic_path, atomic_dir):
        with pytest.raises(RuntimeError, match="half"), write(tmp_path / "model"):
            raise RuntimeError("half")
    assert list(tmp_path.iterdir()) == []


# Read-only


def test_a_read_only_tree_is_one_line(undisturbed, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder)
    with read_only(folder):
        said = one_line(script("clean", folder))
    assert f"clean@{CORPUS}: " in said and "Read-only file system" in said and "data/" in said
    assert files_sha256([folder / "data"]) == files_sha256([undisturbed / "data"])


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, as root may")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_a_tree_of_another_user_is_one_line(undisturbed):
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if subprocess.run([*nobody, sys.executable, "-c", "import torch, crywatch"]).returncode:
        pytest.skip("another user may not run this interpreter")
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="crywatch-") as temp:
        folder = Path(temp) / "project"
        shutil.copytree(undisturbed, folder)
        for path in (Path(temp), folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        done = script("clean", folder, *nobody)
        assert "Permission denied" in one_line(done) and "data/" in done.stderr
        assert files_sha256([folder / "data"]) == files_sha256([undisturbed / "data"])


# Clock set back


def test_a_clock_that_jumps_back_in_a_stage_gives_no_negative_times(project, monkeypatch):
    real = time.time
    with tracking.stage_run("split") as log:
        log.metrics({"loss": 2.0}, step=0)
        monkeypatch.setattr(time, "time", lambda: real() - 86_400)
        log.metrics({"loss": 1.0}, step=1)
    run = stage("split")
    assert run.info.status == "FINISHED"
    assert 0 <= run.data.metrics["duration_s"] < 60
    assert run.data.metrics["loss"] == 1.0
    [made] = runs(**{parent.STAGE: "rebuild"})
    assert made.info.status == "FINISHED"
    assert made.data.metrics["duration_s"] >= 0


def test_a_clock_that_jumps_back_between_stages_stops_and_marks_nothing(project, monkeypatch):
    real = time.time
    monkeypatch.setattr(store, "LOCK_WAIT_S", 2.0)
    with tracking.stage_run("clean"):
        pass
    rebuild(monkeypatch, 2)
    monkeypatch.setattr(time, "time", lambda: real() - 30 * 86_400)
    began = time.monotonic()
    with tracking.stage_run("split"):
        pass
    assert time.monotonic() - began < 30, "no lock waits for the old time to come back"
    assert [run.info.status for run in runs()] == ["FINISHED"] * 4
    assert all(run.data.metrics["duration_s"] >= 0 for run in runs())


def test_a_process_is_known_by_its_start_whatever_the_clock_says_now(monkeypatch):
    here = parent.Process.parse(parent.this_process().text)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    assert here.alive()


# Killed


def test_what_ran_before_a_restart_is_marked_killed_though_its_number_lives_again(project):
    opened = store.open_store()
    begun = {}
    for name, created_s in (("gone", 1.0), ("here", parent.this_process().created_s)):
        tags = {
            parent.HOST: socket.gethostname(),
            parent.PROCESS: parent.Process(os.getpid(), created_s).text,
            parent.STAGE: name,
        }
        run = opened.client.create_run(opened.experiment_id, run_name=name, tags=tags)
        begun[name] = run.info.run_id
    with tracking.stage_run("split"):
        pass
    assert sent()
    status = {name: opened.client.get_run(run_id).info.status for name, run_id in begun.items()}
    assert status == {"gone": "KILLED", "here": "RUNNING"}
