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
from crywatch.tracking import parent, store, sweeps, ties
from tests.helpers.rebuild_cases import dvc, git, tiny_project
from tests.helpers.tracking_cases import FakeProcess, rebuild, runs

pytest_plugins = ["tests.helpers.tracking_fixtures"]

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


def test_the_variable_names_a_sweep_and_wins(project, monkeypatch):
    for number, name in ((1, "wide"), (2, "wide"), (3, "deep")):
        monkeypatch.setenv(sweeps.VARIABLE, name)
        monkeypatch.setattr(sweeps, "_worker", parent.this_process)
        stage_of(monkeypatch, number)
    wide, deep = runs(**{parent.STAGE: "sweep"})
    assert (wide.info.run_name, deep.info.run_name) == ("sweep wide", "sweep deep")
    assert list(parents().values()) == [wide.info.run_id, wide.info.run_id, deep.info.run_id]
    assert wide.info.status == "FINISHED"


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
    monkeypatch.setenv(sweeps.VARIABLE, "wide")
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
    monkeypatch.setenv(sweeps.VARIABLE, "wide")
    code = (
        "import os, signal\nfrom crywatch import tracking\nwith tracking.stage_run('split'):\n"
        "    import time; time.sleep(0.5); print('inside', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout.readline() == "inside\n"
        deadline = time.monotonic() + 60
        while not runs(**{parent.STAGE: "sweep"}) and time.monotonic() < deadline:
            time.sleep(0.1)
        child.kill()
        child.communicate()
    monkeypatch.delenv(sweeps.VARIABLE)
    stage_of(monkeypatch, 5)
    stage_of(monkeypatch, 6)
    [sweep] = runs(**{parent.STAGE: "sweep"})
    assert sweep.info.status == "KILLED"


def test_an_experiment_that_dvc_found_made_has_a_row(project, monkeypatch):
    opened = store.open_store()
    sweeps.conclude(opened, "wide", "wide-0", {"mine.top_t": "2"}, 0.5)
    monkeypatch.setenv(sweeps.VARIABLE, "wide")
    monkeypatch.setenv("DVC_EXP_NAME", "wide-1")
    stage_of(monkeypatch, 1)
    sweeps.conclude(opened, "wide", "wide-1", {}, 0.25)
    table = sweeps.rows(opened, sweeps.find(opened, "wide"))
    assert [(row.name, row.metrics[sweeps.OBJECTIVE]) for row in table] == [
        ("wide-0", 0.5),
        ("wide-1", 0.25),
    ]
    assert "wide-0 | finished | 2 | 0.5" in sweeps.as_markdown(table)


def test_experiments_of_dvcs_queue_are_one_sweep_and_are_found_from_anywhere(
    tmp_path, empty_store, project, monkeypatch
):
    """A path with a space; DVC's own copies fail below one with letters beyond ASCII."""
    here = tiny_project(tmp_path / "a project", empty_store)
    baseline = git(here, "rev-parse", "HEAD")
    names = ["top-one", "top-two"]
    for number, name in enumerate(names, start=1):
        dvc(here, "exp", "run", "--queue", "--name", name, "-S", f"mine.top_t={number}")
    dvc(here, "queue", "start")
    monkeypatch.chdir(here)
    store.open_store.cache_clear()
    deadline = time.monotonic() + WAIT_S
    while not all(ties.experiment_commit(here, name) for name in names):
        assert time.monotonic() < deadline, dvc(here, "queue", "status")
        time.sleep(0.5)
    [sweep] = runs(**{parent.STAGE: "sweep"})
    assert set(parents().values()) == {sweep.info.run_id} and len(parents()) == 2
    opened = store.open_store()
    table = sweeps.rows(opened, sweep.info.run_id)
    assert [(row.name, row.overrides) for row in table] == [
        ("top-one", {"mine.top_t": "1"}),
        ("top-two", {"mine.top_t": "2"}),
    ]
    commit = ties.experiment_commit(here, "top-two")
    by_name = ties.find(opened, here, "top-two")
    assert (by_name.kind, by_name.commit) == ("experiment", commit)
    [of_it] = [one for one in by_name.rebuilds if one.experiment == "top-two"]
    assert (of_it.baseline, of_it.commits) == (baseline, (commit,))
    assert of_it.sweep == sweep.data.tags[sweeps.SWEEP]
    assert {made.stage for made in of_it.stages} == {"mine", "train"}
    by_commit = ties.find(opened, here, commit)
    assert by_commit.rebuilds == by_name.rebuilds and by_commit.unknown == ()
    for run_id in (of_it.run_id, of_it.stages[-1].run_id):
        found = ties.find(opened, here, run_id)
        assert (found.kind, found.commit) == ("run", commit)
    # What was applied and committed by hand leads to the same runs.
    dvc(here, "exp", "apply", "top-two")
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "-m", "the better one")
    applied = ties.find(opened, here, "HEAD")
    assert of_it.run_id in [one.run_id for one in applied.rebuilds]
    assert git(here, "rev-parse", "HEAD") in applied.rebuilds[0].commits
    # Another experiment that made the same later is named too, and does not come first.
    told = {parent.STAGE: "rebuild", ties.EXPERIMENT: "top-three"}
    later = opened.client.create_run(opened.experiment_id, tags=told).info.run_id
    same = opened.client.get_run(of_it.stages[0].run_id).data.tags | {parent.PARENT: later}
    again = opened.client.create_run(opened.experiment_id, tags=same)
    opened.client.set_terminated(again.info.run_id)
    named = [one.experiment for one in ties.find(opened, here, "top-two").rebuilds]
    assert named[0] == "top-two" and "top-three" in named
    dvc(here, "exp", "remove", "top-two")
    assert ties.find(opened, here, "top-two").rebuilds[0].run_id == of_it.run_id
    with pytest.raises(CrywatchError, match="no run of this store"):
        ties.find(opened, here, "nothing")
    assert os.listdir(here / "mlartifacts")
