"""Half files and stale locks that a killed DVC leaves are set right, and nothing that lives is."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from crywatch.operations import recover
from tests.helpers.dvc_cases import crywatch, dvc

STAGES = {
    name: {
        "cmd": f"python pipelines/{name}.py",
        "deps": [{"path": f"{name}.txt", "hash": "md5", "md5": "1" * 32, "size": 10}],
        "outs": [
            {
                "path": f"data/{name}",
                "hash": "md5",
                "md5": "2" * 32 + ".dir",
                "size": 7,
                "nfiles": 3,
            }
        ],
    }
    for name in ("clean@é", "split", "train")
}
LOCK = yaml.safe_dump({"schema": "2.0", "stages": STAGES}, sort_keys=False, allow_unicode=True)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.setattr(recover, "WAIT_S", 0.2)
    return tmp_path


@contextmanager
def process(folder: Path, *words: str):
    """A process with those words in its command line, at work in ``folder``."""
    code = "import time; print(flush=True); time.sleep(60)"
    command = [sys.executable, *(words if words[0].endswith(".py") else ("-c", code, *words))]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as started:
        started.stdout.readline()
        yield started
        started.kill()


# dvc.lock


def test_wherever_a_lock_is_cut_off_whole_stages_are_kept(project):
    whole = LOCK.encode()
    path = project / "dvc.lock"
    names = list(STAGES)
    heads = [LOCK.encode().index(f"  {name}:".encode()) for name in names]
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        said = recover.mend(project)
        kept = yaml.safe_load(path.read_text())["stages"] if path.exists() else {}
        cut = sum(head < length for head in heads)
        assert list(kept) == names[: len(kept)] and cut - 2 <= len(kept) <= cut
        # An entry without outputs is none to DVC: the run cache has it.
        kept = {name: body for name, body in kept.items() if "outs" in body}
        assert kept == {name: STAGES[name] for name in kept}
        if not said:
            assert whole[:length].endswith(b"\n") and cut
        else:
            assert "dvc.lock was cut off" in said[0]
            assert (project / recover.TORN).read_bytes() == whole[:length]


def test_the_lock_of_the_studies_is_cut_back_too(project):
    path = project / "studies" / "dvc.lock"
    path.parent.mkdir()
    path.write_text(LOCK[:-9])
    (project / "dvc.lock").write_text(LOCK)
    (line,) = recover.mend(project)
    assert line.startswith("studies/dvc.lock was cut off in 3 stages")
    assert list(yaml.safe_load(path.read_text())["stages"]) == list(STAGES)[:2]
    assert (project / "dvc.lock").read_text() == LOCK


def test_a_whole_lock_and_one_that_is_wrong_otherwise_are_left_alone(project):
    path = project / "dvc.lock"
    conflict = LOCK.replace("  split:", "<<<<<<< HEAD\n  split:")
    broken = LOCK.replace("  split:", "  split: [")
    for text in (LOCK, conflict, broken, "schema: '2.0'\nstages: {}\n"):
        path.write_text(text)
        assert recover.mend(project) == []
        assert path.read_text() == text


def test_nothing_is_touched_while_a_dvc_has_the_project(project):
    (project / "dvc.lock").write_text(LOCK[:-9])
    (project / recover.BUSY).write_text("")
    with open(project / recover.REPO_LOCK, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert recover.mend(project) == []
    assert (project / "dvc.lock").read_text() == LOCK[:-9]
    assert len(recover.mend(project)) == 2


def test_a_folder_without_dvc_has_nothing_to_mend(tmp_path):
    (tmp_path / "dvc.lock").write_text("stages")
    assert recover.mend(tmp_path) == []


# Busy paths


def busy(project: Path, **pids: int) -> None:
    entries = {mode: {"pid": pid, "cmd": "dvc repro"} for mode, pid in pids.items()}
    content = {"write": {"/p/data/a": entries["write"]}, "read": {"/p/data/b": [entries["read"]]}}
    (project / recover.BUSY).write_text(json.dumps(content))


def test_paths_held_by_processes_that_are_gone_or_another_program_are_released(project):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with process(project, "not-dvc") as other:  # a later process got the number
        busy(project, write=gone.pid, read=other.pid)
        [said] = recover.mend(project)
    assert str(gone.pid) in said and str(other.pid) in said
    assert json.loads((project / recover.BUSY).read_text()) == {}


def test_paths_held_by_a_dvc_of_this_project_only_are_kept(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with process(project, "/bin/dvc", "repro") as ours, process(elsewhere, "dvc") as theirs:
        busy(project, write=ours.pid, read=theirs.pid)
        recover.mend(project)
        content = json.loads((project / recover.BUSY).read_text())
        assert content == {"write": {"/p/data/a": {"pid": ours.pid, "cmd": "dvc repro"}}}
        assert recover.mend(project) == []


@pytest.mark.parametrize("text", ["", '{"write": {"/p/a": {"pid"', "[]", '{"write": {"a": 3}}'])
def test_half_a_table_of_busy_paths_is_removed_unless_a_dvc_lives(project, text):
    (project / recover.BUSY).write_text(text)
    with process(project, "dvc"):
        assert recover.mend(project) == []
    [said] = recover.mend(project)
    assert "half written" in said and not (project / recover.BUSY).exists()


# Git


def test_gits_lock_is_removed_when_it_is_old_and_nobody_lives(project):
    path = project / recover.GIT_LOCK
    path.parent.mkdir()
    path.touch()
    assert recover.mend(project) == [], "a git may just be at work"
    os.utime(path, (time.time() - 60,) * 2)
    with process(project, "git"):
        assert recover.mend(project) == []
    [said] = recover.mend(project)
    assert "index.lock" in said and not path.exists()


def test_gits_lock_of_the_future_is_removed_too(project):
    path = project / recover.GIT_LOCK
    path.parent.mkdir()
    path.touch()
    os.utime(path, (time.time() + 3600,) * 2)  # the clock was set back since
    assert len(recover.mend(project)) == 1


# Stages that outlived their DVC


def test_a_stage_without_its_dvc_is_waited_for(project, tmp_path_factory):
    for folder in (project, elsewhere := tmp_path_factory.mktemp("elsewhere")):
        (folder / "pipelines").mkdir()
        code = "import time; print(flush=True); time.sleep(1.5)"
        (folder / "pipelines" / "clean.py").write_text(code)
    said = []
    with process(project, "pipelines/clean.py", "esc50") as left:
        with process(elsewhere, "pipelines/clean.py"):
            recover.wait_for_stages(project, said.append)
        assert left.poll() is not None or not Path(f"/proc/{left.pid}/cmdline").read_text()
    assert said == [
        f"pipelines/clean.py esc50 (process {left.pid}) still runs: waiting for its end"
    ]


# With DVC itself


def test_a_rebuild_goes_on_where_plain_dvc_stops(tmp_path):
    dvc(tmp_path, "init", "--quiet", "--no-scm")
    outs = {"a": "echo ran >> log && cp in.txt a", "b": "echo ran >> log && cp a b"}
    deps = {"a": "in.txt", "b": "a"}
    stages = {
        name: {"cmd": cmd, "deps": [deps[name]], "outs": [name]} for name, cmd in outs.items()
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "in.txt").write_text("x\n")
    crywatch(tmp_path, "repro")
    whole = (tmp_path / "dvc.lock").read_bytes()
    (tmp_path / "dvc.lock").write_bytes(whole[:-40])
    (tmp_path / recover.BUSY).write_text('{"write"')
    assert dvc(tmp_path, "repro", check=False).returncode
    said = crywatch(tmp_path, "repro", "--quiet").stdout
    assert said.count("crywatch: ") == 2 and "dvc.lock was cut off" in said
    assert (tmp_path / "dvc.lock").read_bytes() == whole
    assert (tmp_path / "log").read_text() == "ran\nran\n", "no stage was repeated"
    assert "up to date" in crywatch(tmp_path, "repro").stdout
