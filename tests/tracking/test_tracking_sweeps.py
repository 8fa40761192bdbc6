"""The parent of a sweep: which rebuilds are its, what it shows, and DVC's own queue."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from crywatch import tracking
from crywatch.core import redact
from crywatch.core.errors import CrywatchError
from crywatch.tracking import entries, find, parent, store, sweeps
from tests.helpers.rebuild_cases import dvc, git, tiny_project
from tests.helpers.tracking_cases import FakeProcess, rebuild, runs

pytest_plugins = ["tests.helpers.tracking_fixtures"]
pytestmark = pytest.mark.nightly

WAIT_S = 240.0


def stage_of(monkeypatch, number: int, name: str = "split") -> None:
    """A stage of one more rebuild."""
    rebuild(monkeypatch, number)
    with tracking.stage_run(name) as log:
        log.headline({"model/auc": number / 10})


def parents() -> dict[str, str]:
    """Rebuild's run id to that of its sweep, or empty."""
    return {
        run.info.run_id: run.data.tags.get(parent.PARENT, "")
        for run in runs(**{parent.STAGE: "rebuild"})
    }


def test_outside_of_a_sweep_a_rebuild_has_no_parent(project, monkeypatch):
    stage_of(monkeypatch, 1)
    assert list(parents().values()) == [""]
    assert runs(**{parent.STAGE: "sweep"}) == []


def test_the_parent_shows_what_differed_and_what_came_of_it(project, monkeypatch):
    def commit(*args: str) -> None:
        who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
        git(project, *who, *args)

    values = yaml.safe_load((project / "params.yaml").read_text())
    login = {"data": {"uri": "https://me:swordfish@host"}, "hub_token": "swordfish"}
    (project / "params.yaml").write_text(yaml.safe_dump(values | login))  # before it was refused
    git(project, "init", "--quiet")
    commit("add", "params.yaml")
    commit("commit", "--quiet", "-m", "start")
    monkeypatch.setattr(sweeps, "_worker", parent.this_process)
    for number, changed in ((1, {"seed": 4}), (2, {"clean": {"rate_hz": 8000}})):
        monkeypatch.setenv("DVC_EXP_NAME", f"exp-{number}")
        (project / "params.yaml").write_text(yaml.safe_dump(values | changed))
        stage_of(monkeypatch, number)
    [sweep] = runs(**{parent.STAGE: "sweep"})
    table = sweeps.rows(store.open_store(), sweep.info.run_id)
    assert [row.name for row in table] == ["exp-1", "exp-2"]
    assert [row.overrides["seed"] for row in table] == ["4", "3"]
    assert [row.overrides["clean.rate_hz"] for row in table] == ["16000", "8000"]
    assert [row.metrics["model/auc"] for row in table] == [0.1, 0.2]
    assert {sweep.data.params[name] for name in ("data.uri", "hub_token")} == {redact.HIDDEN}
    assert sweep.data.params["seed"] == "3"
    assert "| exp-1 | finished | 16000 |" in sweep.data.tags["mlflow.note.content"]
    kept = store.open_store().client.download_artifacts(sweep.info.run_id, sweeps.TABLE)
    read = list(csv.DictReader(io.StringIO(Path(kept).read_text())))
    assert [row["model/auc"] for row in read] == ["0.1", "0.2"]
    everything = [*runs(), Path(kept).read_text()]
    assert "swordfish" not in "".join(str(getattr(one, "data", one)) for one in everything)


def test_experiments_of_one_queue_are_told_by_workers_that_live(project, monkeypatch):
    here = parent.this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    gone = parent.Process(child.pid, 1.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        second = parent.Process(child.pid, parent.psutil.Process(child.pid).create_time())
        for number, worker in enumerate((gone, here, second, here)):
            monkeypatch.setattr(sweeps, "_worker", lambda worker=worker: worker)
            stage_of(monkeypatch, number)
        child.communicate(b"\n")
    first, later = (run.info.run_id for run in runs(**{parent.STAGE: "sweep"}))
    # The worker of the first is gone: what comes later is another `dvc queue start`.
    assert list(parents().values()) == [first, later, later, later]
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "f" * 40)
    stage_of(monkeypatch, 9)
    assert len(runs(**{parent.STAGE: "sweep"})) == 3, "another baseline is another sweep"


def test_a_worker_is_known_by_what_dvc_calls_it(monkeypatch):
    above = [
        FakeProcess(1, "/v/python", "/v/bin/dvc", "exp", "exec-run", "--infofile", "x"),
        FakeProcess(2, "/v/python", "/v/bin/dvc", "exp", "queue-worker", "dvc-exp-1@localhost"),
    ]
    ancestors = type("Here", (), {"parents": lambda self: above})
    monkeypatch.setattr(sweeps.psutil, "Process", ancestors)
    assert sweeps._worker() == parent.Process(2, 2.0)
    del above[1]
    assert sweeps._worker() is None


def test_a_sweep_whose_rebuilds_were_killed_ends(project, monkeypatch):
    code = (
        "import sys\nfrom crywatch import tracking\nfrom crywatch.tracking import parent, sweeps\n"
        "sweeps._worker = lambda: parent.Process.parse(sys.argv[1])\n"
        "with tracking.stage_run('split'):\n"
        "    import time; time.sleep(0.5); print('inside', flush=True); input()"
    )
    command = [sys.executable, "-c", code, parent.this_process().text]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout.readline() == "inside\n"
        deadline = time.monotonic() + WAIT_S
        while not runs(**{parent.STAGE: "sweep"}) and time.monotonic() < deadline:
            time.sleep(0.1)
        child.kill()
        child.communicate()
    stage_of(monkeypatch, 5)
    stage_of(monkeypatch, 6)
    [sweep] = runs(**{parent.STAGE: "sweep"})
    assert sweep.info.status == "KILLED"


def test_experiments_of_dvcs_queue_are_one_sweep_and_are_found_from_anywhere(
    tmp_path, empty_store, project, monkeypatch
):
    """A path with a space; DVC's own copies fail below one with letters beyond ASCII."""
    here = tiny_project(tmp_path / "a project", empty_store)
    baseline = git(here, "rev-parse", "HEAD")
    names = ["top-1", "top-2"]
    dvc(here, "exp", "run", "--queue", "--name", "top", "-S", "mine.top_t=1,2")
    dvc(here, "queue", "start")
    monkeypatch.chdir(here)
    store.open_store.cache_clear()
    deadline = time.monotonic() + WAIT_S
    while not all(entries.experiment_commit(here, name) for name in names):
        assert time.monotonic() < deadline, dvc(here, "queue", "status")
        time.sleep(0.5)
    [sweep] = runs(**{parent.STAGE: "sweep"})
    assert set(parents().values()) == {sweep.info.run_id} and len(parents()) == 2
    opened = store.open_store()
    table = sweeps.rows(opened, sweep.info.run_id)
    assert [(row.name, row.overrides) for row in table] == [
        ("top-1", {"mine.top_t": "1"}),
        ("top-2", {"mine.top_t": "2"}),
    ]
    commit = entries.experiment_commit(here, "top-2")
    by_name = find.find(opened, here, "top-2")
    assert (by_name.kind, by_name.commit) == ("experiment", commit)
    [of_it] = [one for one in by_name.rebuilds if one.experiment == "top-2"]
    assert (of_it.baseline, of_it.commits) == (baseline, (commit,))
    assert of_it.sweep == sweep.data.tags[sweeps.SWEEP]
    assert {made.stage for made in of_it.stages} == {"mine", "train"}
    by_commit = find.find(opened, here, commit)
    assert by_commit.rebuilds == by_name.rebuilds and by_commit.unknown == ()
    for run_id in (of_it.run_id, of_it.stages[-1].run_id):
        found = find.find(opened, here, run_id)
        assert (found.kind, found.commit) == ("run", commit)
    # What was applied and committed by hand leads to the same runs.
    dvc(here, "exp", "apply", "top-2")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "-m", "the better one")
    applied = find.find(opened, here, "HEAD")
    assert of_it.run_id in [one.run_id for one in applied.rebuilds]
    assert git(here, "rev-parse", "HEAD") in applied.rebuilds[0].commits
    # Another experiment that made the same later is named too, and does not come first.
    told = {parent.STAGE: "rebuild", find.EXPERIMENT: "top-3"}
    later = opened.client.create_run(opened.experiment_id, tags=told).info.run_id
    same = opened.client.get_run(of_it.stages[0].run_id).data.tags | {parent.PARENT: later}
    again = opened.client.create_run(opened.experiment_id, tags=same)
    opened.client.set_terminated(again.info.run_id)
    named = [one.experiment for one in find.find(opened, here, "top-2").rebuilds]
    assert named[0] == "top-2" and "top-3" in named
    dvc(here, "exp", "remove", "top-2")
    assert find.find(opened, here, "top-2").rebuilds[0].run_id == of_it.run_id
    with pytest.raises(CrywatchError, match="no run of this store"):
        find.find(opened, here, "nothing")
    assert os.listdir(here / "mlartifacts")
