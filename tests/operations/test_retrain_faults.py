"""Stages that fail and runs that are killed, with git and DVC themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from crywatch.operations.retrain.rebuild import MARK
from tests.helpers.dag import ROOT
from tests.helpers.retrain_cases import git, runs, switch, versions
from tests.helpers.retrain_cases import really_retrain as retrain

pytestmark = pytest.mark.nightly

pytest_plugins = ["tests.helpers.retrain_fixtures"]


def test_a_failed_stage_is_named_and_the_next_run_goes_on(retrained):
    (switch(retrained) / "fail").touch()
    found = retrain(retrained)
    assert (found.outcome, found.failed_step) == ("failed", "stage train")
    assert "ValueError" in found.tail and str(retrained) not in found.tail
    assert "ValueError" in runs(retrained).log(found.id).read_text()
    assert not (retrained / "registry.json").exists()
    (switch(retrained) / "fail").unlink()
    again = retrain(retrained)
    assert (again.outcome, again.continued) == ("promoted", found.id), again.tail
    assert "read sounds" not in [step.name for step in again.steps]
    assert again.kept_commit == git(retrained, "rev-parse", f"refs/crywatch/retrain/{found.id}")


RUN = """
import sys
from pathlib import Path
from crywatch.operations.retrain import RetrainConfig, run
run(RetrainConfig(heartbeat_s=1.0), Path(sys.argv[1]))
"""


def test_a_kill_within_a_stage_leaves_nothing_that_needs_a_person(retrained):
    (switch(retrained) / "hold").touch()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(retrained)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    try:
        _until(lambda: (switch(retrained) / "holding").is_file())
        left = psutil.Process(process.pid).children(recursive=True)
        assert left
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What git and DVC leave when they are killed too.
    about = retrained / ".git" / "worktrees" / "retrain"
    (about / "index.lock").touch()
    copy = retrained / ".dvc" / "tmp" / "worktrees" / "retrain"
    lock = (copy / "dvc.lock").read_text()
    (copy / "dvc.lock").write_text(lock[: len(lock) * 2 // 3])
    (copy / ".dvc" / "tmp" / "rwlock").write_text('{"write": {')
    (switch(retrained) / "hold").unlink()
    found = retrain(retrained)
    assert found.outcome == "promoted", found.tail
    assert "its process is gone" in found.notes[0] and "were ended" in found.notes[1]
    assert any("rwlock was half written" in note for note in found.notes)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in left)
    assert versions(retrained) == ["alice.wavalice.wavbob.wavbob.wav {'lr': 0.1} 1"]


def test_a_stage_that_outlives_its_run_is_ended_before_the_next(retrained):
    held = subprocess.Popen(["sleep", "60"], env=os.environ | {MARK: str(retrained.resolve())})
    try:
        found = retrain(retrained)
        assert found.notes[0].startswith("1 process(es)")
        held.wait(5)
    finally:
        held.kill()
        held.wait()


def _until(done) -> None:
    deadline_s = time.monotonic() + 50
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
