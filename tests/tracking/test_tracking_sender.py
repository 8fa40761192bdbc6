"""The one process that sends what stages record: begun by them, killed, and at its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from crywatch.tracking import journal, launch, parent, store
from tests.helpers.dvc_cases import crywatch, dvc, environment, make_project
from tests.helpers.tracking_cases import history, runs, stage, stored

pytest_plugins = ["tests.helpers.tracking_fixtures"]
pytestmark = pytest.mark.slow

STAGE = """
import sys, time
time.sleep({before})
from crywatch import tracking
with tracking.stage_run("split", sys.argv[1]) as log:
    for step in range(20):
        log.metrics({{"loss": float(step)}}, step=step)
heavy = ("mlflow", "fastapi", "sqlalchemy", "numpy", "pandas")
print([name for name in heavy if name in sys.modules])
"""
ENDS_S = 120.0  # a busy machine imports MLflow slowly


def run(folder: Path, key: str, before: float = 0.0, **env: str) -> str:
    """The stage's own script, which begins its sender; what it printed."""
    (folder / "split.py").write_text(STAGE.format(before=before))
    command = [sys.executable, "split.py", key]
    done = subprocess.run(
        command, cwd=folder, env=environment(**env), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def linger(folder: Path, seconds: float) -> None:
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["tracking"]["linger_s"] = seconds
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def senders(folder: Path) -> list[psutil.Process]:
    """The processes that send for this project."""
    found = []
    for process in psutil.process_iter():
        try:
            if launch.MODULE in process.cmdline() and Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(true, wait_s: float = ENDS_S) -> bool:
    until_s = time.monotonic() + wait_s
    while not true():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def losses(key: str) -> list[tuple[int, float]]:
    return sorted(history(stage(f"split@{key}"), "loss"))


EVERY = [(step, float(step)) for step in range(20)]


def test_stages_import_no_mlflow_and_share_a_sender_that_ends_of_itself(project):
    linger(project, 3.0)
    assert run(project, "one").splitlines()[-1] == "[]"
    [first] = senders(project)
    assert run(project, "two").splitlines()[-1] == "[]"
    assert senders(project) == [first]
    assert wait_until(lambda: not journal.journals()), "sent though nobody asked for it"
    assert wait_until(lambda: not senders(project))
    assert [run.info.status for run in stored() if run.data.tags.get("variant")] == ["FINISHED"] * 2
    assert losses("one") == losses("two") == EVERY
    left = [path for path in (project / "data/work").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".lock"}, left


def test_a_sender_that_is_killed_is_followed_by_the_next_stages(project):
    linger(project, 60.0)
    for number, key in enumerate(("one", "two", "three")):
        run(project, key)
        [sender] = senders(project)
        time.sleep(1.5 * number)  # while it imports, sends and waits
        sender.kill()
        wait_until(lambda gone=sender: not gone.is_running())
    run(project, "four")
    assert wait_until(lambda: not journal.journals())
    launch.end(f"sqlite:///{project}/mlflow.db", ENDS_S)
    assert losses("one") == losses("two") == losses("three") == losses("four") == EVERY
    assert wait_until(lambda: not senders(project), 10.0)


def test_the_time_of_a_script_counts_from_its_beginning(project):
    began_ms = time.time() * 1000
    run(project, "one", before=1.0)
    made = stage("split@one")
    assert made.data.metrics["duration_s"] > 1.0
    assert began_ms - 50 <= made.info.start_time <= began_ms + 1000
    took_s = (made.info.end_time - made.info.start_time) / 1000
    assert made.data.metrics["duration_s"] == pytest.approx(took_s, abs=0.2)


def test_a_server_that_hangs_costs_a_stage_nothing_and_the_next_one_tells_it(project):
    import socket

    def seconds(key: str, **env: str) -> float:
        began_s = time.monotonic()
        said.append(run(project, key, **env))
        return time.monotonic() - began_s

    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
        }
        plain_s = min(seconds("one") for _ in range(2))
        slow_s = min(seconds("two", **env) for _ in range(2))
        assert slow_s < plain_s + 1.0
        assert wait_until((project / launch.TROUBLES).is_file)
        seconds("three", **env)
    assert "records are sent later" in said[-1] and "Traceback" not in said[-1]
    for process in senders(project):
        process.kill()


def test_a_rebuild_ends_with_its_sender_and_all_that_was_recorded(
    tmp_path, empty_store, monkeypatch
):
    folder = make_project(tmp_path / "project", store=empty_store)
    linger(folder, 600.0)
    crywatch(folder, "repro")
    assert list((folder / "data/work/tracking/spool").iterdir()) == []
    assert wait_until(lambda: not senders(folder), 10.0)
    monkeypatch.chdir(folder)
    store.open_store.cache_clear()
    [rebuild] = stored(**{parent.STAGE: "rebuild"})
    assert (rebuild.info.status, rebuild.data.metrics["n_stages"]) == ("FINISHED", 3)
    third = [run for run in stored() if run.data.tags.get(parent.STAGE) == "third"]
    assert "dvc.lock.entry" in third[0].data.tags, "the last stage's too"


def test_a_rebuild_by_dvc_alone_is_sent_too(tmp_path, empty_store, monkeypatch):
    folder = make_project(tmp_path / "project", store=empty_store)
    dvc(folder, "repro")
    assert wait_until(lambda: not senders(folder))
    assert list((folder / "data/work/tracking/spool").iterdir()) == []
    monkeypatch.chdir(folder)
    store.open_store.cache_clear()
    [rebuild] = stored(**{parent.STAGE: "rebuild"})
    assert (rebuild.info.status, rebuild.data.metrics["n_stages"]) == ("FINISHED", 3)


def test_a_signal_has_the_sender_send_and_end(project):
    linger(project, 600.0)
    run(project, "one")
    [sender] = senders(project)
    lock = launch.lock_of(f"sqlite:///{project}/mlflow.db")
    assert wait_until(lambda: lock.path.read_text() == str(sender.pid))
    sender.send_signal(signal.SIGTERM)
    assert wait_until(lambda: not senders(project))
    assert journal.journals() == []
    assert len(runs()) == 2
