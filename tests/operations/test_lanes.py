"""Stages side by side: a project of real DVC stages, some of which end only beside another one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from crywatch.core.lock import FileLock
from tests.helpers.dvc_cases import crywatch, dvc, lock, start

# Writes `began`, waits for the files that it is given, and fails if "fails" is among them.
SCRIPT = """
import sys, time
from pathlib import Path
name, *waits = sys.argv[1:]
began = Path("began"); began.mkdir(exist_ok=True)
(began / name).write_text("")
if "fails" in waits:
    sys.exit(3)
until = time.monotonic() + 30
while not all((began / other).exists() for other in waits):
    assert time.monotonic() < until, f"{name} waited for {waits} in vain"
    time.sleep(0.02)
out = Path("data", name); out.parent.mkdir(exist_ok=True)
out.write_text(name)
"""


def project(folder: Path, stages: dict[str, tuple[list[str], list[str]]]) -> Path:
    """Stages by name: the words after the name, and the stages that it reads."""
    folder.mkdir()
    (folder / "stage.py").write_text(SCRIPT)
    (folder / "params.yaml").write_text("shared: {value: 1, list: [1, 2]}\n")
    content = {
        name: {
            "cmd": " ".join(["python stage.py", name, *words]),
            "deps": ["stage.py", *(f"data/{other}" for other in before)],
            "params": ["shared"],
            "outs": [f"data/{name}"],
        }
        for name, (words, before) in stages.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": content}, sort_keys=False))
    dvc(folder, "init", "--quiet", "--no-scm")
    return folder


def began(folder: Path) -> set[str]:
    return {path.name for path in (folder / "began").iterdir()}


BOTH = {"left": (["right"], []), "right": (["left"], []), "last": ([], ["left", "right"])}


def test_two_that_do_not_read_each_other_run_at_once_and_dvc_finds_nothing_to_do(tmp_path):
    folder = project(tmp_path / "project", BOTH)
    crywatch(folder, "repro")
    assert "up to date" in dvc(folder, "repro").stdout
    assert lock(folder).keys() == BOTH.keys()
    text = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").unlink()
    dvc(folder, "repro")  # from the run cache, in one lane
    assert yaml.safe_load(text) == yaml.safe_load((folder / "dvc.lock").read_text())
    assert "&" not in text, "values that stages share are written out"


def test_one_job_is_one_stage_after_the_other(tmp_path):
    folder = project(tmp_path / "project", {"first": ([], []), "second": (["first"], [])})
    words = crywatch(folder, "repro", "--jobs", "1").stdout
    assert words.index("'first'") < words.index("Updating lock") < words.index("'second'")


def test_a_stage_begins_after_what_it_reads(tmp_path):
    folder = project(tmp_path / "project", {"late": ([], ["early"]), "early": ([], [])})
    crywatch(folder, "repro", "--jobs", "3")
    assert lock(folder).keys() == {"late", "early"}


def test_what_runs_beside_a_failure_is_kept_and_nothing_more_begins(tmp_path):
    stages = {
        "wrong": (["fails"], []),
        "right": (["wrong"], []),
        "third": ([], []),
        "after": ([], ["wrong"]),
    }
    folder = project(tmp_path / "project", stages)
    failed = crywatch(folder, "repro", check=False)
    assert failed.returncode and "failed to reproduce 'wrong'" in failed.stdout
    assert lock(folder).keys() == {"right"} and began(folder) == {"wrong", "right"}
    going_on = crywatch(folder, "repro", "--keep-going", check=False)
    assert going_on.returncode and "'after' will be skipped" in going_on.stdout
    assert lock(folder).keys() == {"right", "third"} and "after" not in began(folder)


def wait_until(condition, process: subprocess.Popen[str], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_rebuild_goes_on_where_it_was(tmp_path, number):
    stages = {"one": (["go"], []), "two": (["go"], []), "three": ([], []), "four": ([], ["one"])}
    folder = project(tmp_path / "project", stages)
    process = start(folder, "crywatch.cli", "repro")
    wait_until(lambda: (folder / "began").is_dir() and began(folder) == {"one", "two"}, process)
    repository = FileLock(folder / ".dvc/tmp/lock")
    assert repository.take(), "other DVC commands may work meanwhile"
    repository.free()
    os.killpg(process.pid, number)
    process.communicate()
    assert process.returncode and began(folder) == {"one", "two"}
    (folder / "began" / "go").write_text("")
    crywatch(folder, "repro")
    assert lock(folder).keys() == stages.keys()


def test_what_reads_a_stage_that_was_forced_is_forced(tmp_path):
    folder = project(tmp_path / "project", BOTH)
    crywatch(folder, "repro")
    words = crywatch(folder, "repro", "--force-downstream", "--force", "left", "right").stdout
    assert words.count("Running stage") == 2
    (folder / "began" / "last").unlink()
    crywatch(folder, "repro", "--force-downstream", "--force")
    assert "last" in began(folder)


def test_a_lock_that_another_wrote_is_read_again(tmp_path):
    folder = project(tmp_path / "project", BOTH)
    crywatch(folder, "repro", "left", "right")
    (folder / "params.yaml").write_text("shared: {value: 2, list: [1, 2]}\n")
    dvc(folder, "repro", "--single-item", "left")
    crywatch(folder, "repro")
    entries = lock(folder)
    assert {entries[name]["params"]["params.yaml"]["shared"]["value"] for name in BOTH} == {2}
