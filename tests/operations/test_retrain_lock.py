"""The lock: one owner at a time, none that outlives its process, and no wall clock in it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from crywatch.operations.retrain import lock
from crywatch.operations.retrain.lock import AlreadyRunning, locked, me
from crywatch.operations.retrain.rebuild import MARK, end_left
from crywatch.tracking.parent import Process
from tests.helpers.dag import ROOT

NOW = "2030-01-02T03:04:05Z"
HOLD = """
import sys, time
from pathlib import Path
from crywatch.operations.retrain.lock import AlreadyRunning, locked
try:
    with locked(Path(sys.argv[1]), "2030-01-02T03:04:05Z", 0.05):
        print("have", flush=True)
        time.sleep(float(sys.argv[2]))
except AlreadyRunning:
    print("held", flush=True)
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "folder" / "lock"


def holder(path: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )


def left_by(path: Path, **changed) -> None:
    """What an owner that did not give the lock back has written."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(replace(me(NOW), **changed))))


def test_a_live_owner_is_named_and_a_lock_given_back_is_free(path):
    process = holder(path, 60)
    try:
        assert process.stdout.readline() == "have\n"
        with (
            pytest.raises(AlreadyRunning, match=f"process {process.pid} on .*{NOW}"),
            locked(path, NOW, 1),
        ):
            pass
    finally:
        process.kill()
        process.wait()
    with locked(path, NOW, 1) as took:
        assert f"process {process.pid}" in took and "its process is gone" in took
    with locked(path, NOW, 1) as took:
        assert took == ""
    assert path.stat().st_mode & 0o077 == 0


def test_of_those_that_start_at_once_one_has_it(path):
    processes = [holder(path, 3) for _ in range(4)]
    said = sorted(process.communicate()[0].strip() for process in processes)
    assert said == ["have", "held", "held", "held"]


def test_a_number_that_another_process_has_by_now_is_no_owner(path):
    process = psutil.Process()
    left_by(path, process=Process(process.pid, process.create_time() - 1000).text)
    with locked(path, NOW, 1) as took:
        assert "its process is gone" in took


def test_a_live_process_owns_it_where_the_file_system_has_no_flock(path):
    left_by(path)
    with pytest.raises(AlreadyRunning), locked(path, NOW, 1):
        pass


def test_a_machine_that_was_started_again_has_no_owner(path):
    left_by(path, boot="before")
    with locked(path, NOW, 1) as took:
        assert "started again" in took


def test_an_owner_on_another_machine_is_gone_when_it_gives_no_sign(path):
    left_by(path, boot="there", host="elsewhere")
    start_s = time.monotonic()
    with locked(path, NOW, 0.1) as took:
        assert "elsewhere" in took and "no sign for 0.3 s" in took
    assert time.monotonic() - start_s >= 0.3


def test_an_owner_on_another_machine_that_gives_signs_is_left_alone(path):
    left_by(path, boot="there", host="elsewhere")
    beat = threading.Timer(0.1, left_by, (path,), {"boot": "there", "host": "elsewhere", "beat": 7})
    beat.start()
    with pytest.raises(AlreadyRunning, match="elsewhere"), locked(path, NOW, 0.5):
        pass
    beat.join()


def test_the_owner_gives_signs(path):
    with locked(path, NOW, 0.02):
        time.sleep(0.2)
        assert json.loads(path.read_text())["beat"] > 1


def test_a_disk_that_refuses_a_sign_gets_the_next(path, monkeypatch):
    real, refused = os.pwrite, []

    def pwrite(handle, content, at):
        if threading.current_thread() is not threading.main_thread() and len(refused) < 2:
            refused.append(content)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, content, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with locked(path, NOW, 0.02):
        time.sleep(0.3)
        assert len(refused) == 2 and json.loads(path.read_text())["beat"] > 2


def test_no_wall_clock_decides(path, monkeypatch):
    def never():
        raise AssertionError("the wall clock was asked")

    left_by(path, boot="there", host="elsewhere")
    monkeypatch.setattr(time, "time", never)
    with locked(path, NOW, 0.02) as took:
        assert took


def test_half_a_content_is_read_as_nobody(path):
    path.parent.mkdir()
    path.write_text('{"process": "1')
    with locked(path, NOW, 1) as took:
        assert took == ""


def test_without_linux_the_kernel_is_known_by_its_start(monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "BOOT_ID", tmp_path / "none")
    assert lock.boot_id().isdigit()


def test_what_a_killed_run_left_running_is_ended_and_nothing_else(tmp_path):
    sleeping = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]
    mine, other = (
        subprocess.Popen(
            sleeping,
            env=os.environ | {MARK: str(tmp_path / name)},
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        for name in ("project", "another")
    )
    try:
        for process in (mine, other):
            process.stdout.readline()
        assert end_left(tmp_path / "project") == 1
        assert not psutil.pid_exists(mine.pid)
        assert other.poll() is None
        assert end_left(tmp_path / "project") == 0
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()
