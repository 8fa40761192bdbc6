"""Copies of the project: whatever its path, whatever a kill left, and what they bring along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crywatch.core.errors import CrywatchError
from crywatch.operations import recover, worktree
from tests.helpers.rebuild_cases import commit, environment, git, new_repository

SECRET = "swordfish-4711"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return new_repository(tmp_path / "a project é")


def test_a_copy_holds_the_commit_and_leaves_the_working_tree(project):
    first = git(project, "rev-parse", "HEAD")
    (project / "notes.txt").write_text("two\n")
    commit(project, "second")
    (project / "notes.txt").write_text("three\n")
    copy = worktree.checkout(project, first, "one copy")
    assert copy.commit == first
    assert copy.folder == project / ".dvc/tmp/worktrees/one copy"
    assert (copy.folder / "notes.txt").read_text() == "one\n"
    assert (project / "notes.txt").read_text() == "three\n"
    assert git(project, "branch", "--show-current") == "main"
    assert git(project, "status", "--porcelain", "--untracked-files=all") == "M notes.txt"


def test_an_earlier_copy_is_gone_on_with(project):
    copy = worktree.checkout(project, "HEAD", "copy")
    (copy.folder / "made").mkdir()
    (copy.folder / "made" / "model").write_text("of hours")
    (copy.folder / "notes.txt").write_text("scribbled")
    (project / "notes.txt").write_text("two\n")
    second = commit(project, "second")
    again = worktree.checkout(project, "main", "copy")
    assert (again.folder, again.commit) == (copy.folder, second)
    assert (again.folder / "notes.txt").read_text() == "two\n"
    assert (again.folder / "made" / "model").read_text() == "of hours"


@pytest.mark.parametrize("left", ["nothing registered", "no .git", "index.lock", "locked", "empty"])
def test_what_a_kill_left_is_no_hindrance(project, left):
    copy = worktree.checkout(project, "HEAD", "copy")
    registered = project / ".git" / "worktrees" / "copy"
    if left == "nothing registered":
        subprocess.run(["rm", "-rf", str(registered)], check=True)
    elif left == "no .git":
        (copy.folder / ".git").unlink()
    elif left == "index.lock":
        (registered / "index.lock").touch()
        (copy.folder / "notes.txt").unlink()
    elif left == "locked":
        (registered / "locked").write_text("initializing")
        subprocess.run(["rm", "-rf", str(copy.folder)], check=True)
    else:
        for path in (registered / "HEAD", registered / "index"):
            path.write_bytes(b"")
    again = worktree.checkout(project, "HEAD", "copy")
    assert (again.folder / "notes.txt").read_text() == "one\n"
    assert git(again.folder, "status", "--porcelain") == ""


def test_killed_at_any_moment_and_asked_again(project):
    for number in range(200):
        (project / f"file {number}.txt").write_text(f"{number}\n" * 500)
    commit(project, "many")
    code = (
        "import sys; from pathlib import Path; from crywatch.operations import worktree; "
        "worktree.checkout(Path(sys.argv[1]), 'HEAD', 'copy')"
    )
    for delay_s in (0.05, 0.15, 0.25, 0.4):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(project)], env=environment(), start_new_session=True
        )
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    copy = worktree.checkout(project, "HEAD", "copy")
    assert len(list(copy.folder.glob("file *.txt"))) == 200
    assert git(copy.folder, "status", "--porcelain") == ""


def test_locks_that_a_killed_rebuild_left_in_a_copy_are_released(project):
    copy = worktree.checkout(project, "HEAD", "copy")
    busy = copy.folder / recover.BUSY
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}  # the number is another's now
    for left in ("", json.dumps({"write": {"/a": holder}})):
        busy.parent.mkdir(parents=True, exist_ok=True)
        busy.write_text(left)
        worktree.checkout(project, "HEAD", "copy")
        assert not busy.exists() or busy.read_text() == "{}"


def test_the_cache_and_remotes_are_the_projects(project):
    shared = project.parent / "store é"
    config = "[core]\nremote = near\n['remote \"near\"']\nurl = ../../near\n"
    (project / ".dvc" / "config").write_text(config)
    commit(project, "remote")
    (project / ".dvc" / "config.local").write_text(
        f"['remote \"near\"']\npassword = {SECRET}\n['remote \"far\"']\nurl = s3://bucket/x\n"
        f"['remote \"disk\"']\nurl = {shared}\n",
        encoding="utf-8",
    )
    copy = worktree.checkout(project, "HEAD", "copy")

    from dvc.config import Config

    found = Config(str(copy.folder / ".dvc"), validate=False)
    assert found["cache"]["dir"] == str(project / ".dvc" / "cache")
    assert found["core"]["remote"] == "near"
    assert found["remote"]["near"]["url"] == str(project.parent / "near")
    assert found["remote"]["near"]["password"] == SECRET
    assert found["remote"]["far"]["url"] == "s3://bucket/x"
    assert found["remote"]["disk"]["url"] == str(shared)


def test_secrets_are_read_by_the_owner_only_and_never_committed(project):
    (project / ".dvc" / "config.local").write_text(f"['remote \"r\"']\npassword = {SECRET}\n")
    copy = worktree.checkout(project, "HEAD", "copy")
    local = copy.folder / ".dvc" / "config.local"
    assert SECRET in local.read_text()
    assert local.stat().st_mode & 0o777 == 0o600
    commit(copy.folder, "all of the copy")
    assert SECRET not in git(copy.folder, "log", "-p", "--all")


def test_a_commit_that_would_let_secrets_in_is_refused(project):
    (project / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n")
    commit(project, "config.local is not ignored")
    with pytest.raises(CrywatchError, match="does not ignore"):
        worktree.checkout(project, "HEAD", "copy")


def test_commands_in_a_copy_know_nothing_of_an_outer_command(project, monkeypatch):
    outer = {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "x", "DVC_EXP_NAME": "e", "DVC_ROOT": "/x"}
    for name, value in outer.items():
        monkeypatch.setenv(name, value)
    copy = worktree.checkout(project, "HEAD", "copy")
    assert outer.keys().isdisjoint(copy.environment())
    assert copy.environment()["PYTHONPATH"].split(os.pathsep)[0] == str(copy.folder / "src")
    said = copy.run("platform", variables={"DVC_EXP_NAME": "inner"})
    assert said.returncode == 0 and said.stdout.strip()


def test_errors_say_what_is_wrong(project, tmp_path):
    (project / ".dvc" / "config.local").write_text("[core\n")
    with pytest.raises(CrywatchError, match="config"):
        worktree.checkout(project, "HEAD", "copy")
    with pytest.raises(CrywatchError, match="no such commit"):
        worktree.checkout(project, "f" * 40, "copy")
    for name in ("", "..", "a/b"):
        with pytest.raises(CrywatchError, match="is not a name for a folder"):
            worktree.checkout(project, "HEAD", name)
    inside = project / "inside"
    inside.mkdir()
    with pytest.raises(CrywatchError, match="not the root of its git repository"):
        worktree.checkout(inside, "HEAD", "copy")
    outside = tmp_path / "outside"
    (outside / ".dvc").mkdir(parents=True)
    with pytest.raises(CrywatchError, match="not a git repository"):
        worktree.checkout(outside, "HEAD", "copy")


@pytest.mark.parametrize("odd", ["--output=evil", "-x", "--all", "$(touch evil)"])
def test_a_commit_is_no_option_of_git(project, odd):
    with pytest.raises(CrywatchError, match="no such commit"):
        worktree.checkout(project, odd, "copy")
    assert not list(project.rglob("evil"))


def test_a_link_in_the_place_of_a_copy_is_not_removed(project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    place = project / worktree.FOLDER / "copy"
    place.parent.mkdir(parents=True)
    place.symlink_to(other)
    with pytest.raises(CrywatchError, match="it is not removed"):
        worktree.checkout(project, "HEAD", "copy")
    assert (other / "kept").is_file()
