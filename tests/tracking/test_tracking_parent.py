"""The parent of a rebuild's stages, and how both end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest

from crywatch import tracking
from crywatch.tracking import lineage, parent, store
from tests.helpers.tracking_cases import (
    FakeProcess,
    rebuild,
    runs,
    sent,
    stage,
    stored,
    write_lock,
)

pytestmark = pytest.mark.nightly

pytest_plugins = ["tests.helpers.tracking_fixtures"]


def test_stages_of_one_rebuild_share_a_parent(project):
    for name in ("clean", "split"):
        with tracking.stage_run(name):
            assert sent()
            assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["RUNNING"]
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.info.status == "FINISHED"
    parents = {stage(name).data.tags["mlflow.parentRunId"] for name in ("clean", "split")}
    assert parents == {rebuild.info.run_id}


def test_another_rebuild_has_another_parent(project, monkeypatch):
    with tracking.stage_run("clean"):
        pass
    monkeypatch.setattr(parent, "rebuild_process", lambda: parent.Process(1, 1.0))
    with tracking.stage_run("split"):
        pass
    assert len(runs(**{parent.STAGE: "rebuild"})) == 2
    names = ("clean", "split")
    assert len({stage(name).data.tags["mlflow.parentRunId"] for name in names}) == 2


def test_a_run_id_in_the_environment_does_not_win(project, monkeypatch):
    opened = store.open_store()
    other = opened.client.create_run(opened.experiment_id, run_name="other").info.run_id
    opened.client.set_terminated(other)
    monkeypatch.setenv("MLFLOW_RUN_ID", other)
    with tracking.stage_run("split") as log:
        log.metrics({"clips": 1})
    run = stage("split")
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert other not in (run.info.run_id, rebuild.info.run_id)
    assert run.data.tags["mlflow.parentRunId"] == rebuild.info.run_id
    assert opened.client.get_run(other).data.metrics == {}


@pytest.mark.parametrize(
    ("ancestors", "found"),
    [
        ([("sh", "-c", "python pipelines/split.py"), ("/v/python3.11", "/v/bin/dvc", "repro")], 1),
        ([("python3", "-m", "dvc", "repro")], 0),
        ([("/v/bin/dvc", "exp", "run"), ("make", "repro"), ("dvc", "queue", "start")], 0),
        ([("bash",), ("sshd",)], None),
        ([("bash", "-c", "dvc repro; true"), ("vim", "dvc.yaml")], None),
    ],
)
def test_the_rebuild_is_the_nearest_dvc_above(monkeypatch, ancestors, found):
    above = [FakeProcess(pid, *words) for pid, words in enumerate(ancestors, start=100)]
    real = parent.psutil.Process

    def process(pid: int | None = None) -> object:
        here = real(pid) if pid else real()
        if pid is None:
            return types.SimpleNamespace(parents=lambda: above, create_time=here.create_time)
        return here

    monkeypatch.setattr(parent.psutil, "Process", process)
    expected = (
        parent.this_process() if found is None else parent.Process(100 + found, 100.0 + found)
    )
    assert parent.rebuild_process() == expected


def test_a_process_is_not_taken_for_a_later_one_with_its_number():
    here = parent.this_process()
    assert here.alive()
    assert parent.Process.parse(here.text).alive()
    assert not parent.Process(here.pid, here.created_s - 100).alive()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = child.pid
    assert not parent.Process(gone, 0.0).alive()


CHILD = """
import sys
from crywatch import tracking
from crywatch.tracking import parent
parent.rebuild_process = parent.this_process
with tracking.stage_run("split") as log:
    log.metrics({"clips": 1})
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_stage_is_marked_killed_when_it_was_and_not_while_it_runs(project):
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as child:
        assert child.stdout.readline() == "inside\n"
        killed = stage("split").info.run_id
        killed_parent = stage("split").data.tags["mlflow.parentRunId"]
        with tracking.stage_run("clean"):
            assert sent()
            assert stage("split").info.status == "RUNNING"
        child.send_signal(signal.SIGKILL)
        child.communicate()
    [left] = [run for run in stored(**{parent.STAGE: "split"})]
    assert left.info.status == "RUNNING", "nobody could say more"
    status = {run.info.run_id: run.info.status for run in runs()}
    assert status.pop(killed) == status.pop(killed_parent) == "KILLED"
    assert set(status.values()) == {"FINISHED"}


def test_a_parent_that_is_finished_has_an_end(project):
    with tracking.stage_run("split"):
        pass
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.info.end_time >= rebuild.info.start_time


def test_stages_that_start_together_share_a_parent(project):
    opened, found = store.open_store(), []
    this = parent.this_rebuild("tiny", lineage.commit(), 1)
    together = threading.Barrier(4)

    def find() -> None:
        together.wait()
        found.append(parent.find_or_create(opened, this))

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_run_on_another_machine_is_left_alone(project, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    gone = parent.Process(child.pid, 1.0)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "elsewhere")
        elsewhere.setattr("platform.node", lambda: "elsewhere")
        elsewhere.setattr(parent, "this_process", lambda: gone)
        log = tracking.StageRun()
        log._start("split", None)
        assert sent()
    with tracking.stage_run("clean"):
        pass
    assert stage("split").info.status == "RUNNING"


def test_a_stage_that_is_interrupted_is_killed(project):
    with pytest.raises(KeyboardInterrupt), tracking.stage_run("split"):
        raise KeyboardInterrupt
    assert stage("split").info.status == "KILLED"


def test_a_parent_counts_its_stages_and_keeps_their_worst_end(project, monkeypatch):
    write_lock({"clean": ([], {"data/clean": "c" * 32}), "split": (["data/clean"], {})})
    with pytest.raises(ValueError, match="first"), tracking.stage_run("split"):
        raise ValueError("first")
    with tracking.stage_run("many"):
        assert sent()
        [rebuild] = runs(**{parent.STAGE: "rebuild"})
        assert rebuild.info.status == "RUNNING"
        assert rebuild.data.metrics["n_stages"] == 1
        time.sleep(0.1)
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.info.status == "FAILED", "dvc repro --keep-going goes on after a failure"
    assert rebuild.data.metrics["n_stages"] == 2
    assert rebuild.data.metrics["n_skipped"] == 1
    took_s = (rebuild.info.end_time - rebuild.info.start_time) / 1000
    assert 0.1 <= rebuild.data.metrics["duration_s"] <= took_s + 0.1


def test_a_parent_runs_while_one_of_its_stages_does(project):
    with tracking.stage_run("clean"):
        assert sent()
        with tracking.stage_run("split"):
            pass
        assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["RUNNING"]
    assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["FINISHED"]


def test_the_name_of_a_parent_tells_a_rebuild_from_a_script(project, monkeypatch):
    with tracking.stage_run("clean"):
        pass
    rebuild(monkeypatch, 5)
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    with tracking.stage_run("split"):
        pass
    names = [run.info.run_name for run in runs(**{parent.STAGE: "rebuild"})]
    words = [name.rpartition(", ")[0] for name in names]
    assert words == ["manual tiny", "puffy-daks tiny"]


def test_a_stage_that_is_terminated_is_killed(project):
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True) as child:
        assert child.stdout.readline() == "inside\n"
        child.send_signal(signal.SIGTERM)
        child.communicate()
    assert child.returncode == 128 + signal.SIGTERM
    assert stage("split").info.status == "KILLED"
    assert stage("split").data.metrics["clips"] == 1, "what was pending is sent"
    assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["KILLED"]


def test_the_handler_of_a_signal_is_put_back(project):
    before = signal.getsignal(signal.SIGTERM)
    with tracking.stage_run("split"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "text", ["", "x", "1:2:3", "-1:0", "9" * 30 + ":1", "1:nan", "1:1e9", "a:b"]
)
def test_a_tag_that_names_no_process_is_of_one_that_is_gone(project, text):
    assert not parent.Process.parse(text).alive()
    opened = store.open_store()
    tags = {parent.HOST: socket.gethostname(), parent.PROCESS: text or "?"}
    run = opened.client.create_run(opened.experiment_id, tags=tags)
    parent.mark_killed(opened)
    assert opened.client.get_run(run.info.run_id).info.status == "KILLED"
