"""Runs are found by what people call them; a rebuild stands for its evaluation."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from crywatch import tracking
from crywatch.core.errors import CrywatchError
from crywatch.tracking import entries, lineage, parent, registry, runs, store
from crywatch.tracking import find as finding
from crywatch.tracking.registry import ModelVersion
from tests.helpers.rebuild_cases import git
from tests.helpers.tracking_cases import runs as all_runs
from tests.helpers.tracking_cases import write_lock

pytest_plugins = ["tests.helpers.tracking_fixtures"]

NAME = "cry-detector"


def create(name: str, stage: str, status: str = "FINISHED", **tags: str) -> str:
    opened = store.open_store()
    run = opened.client.create_run(
        opened.experiment_id, run_name=name, tags={parent.STAGE: stage} | tags
    )
    if status != "RUNNING":
        opened.client.set_terminated(run.info.run_id, status)
    time.sleep(0.002)  # a later run starts later
    return run.info.run_id


def rebuild(name: str, sha: str = "a" * 40, **tags: str) -> str:
    return create(name, "rebuild", **({"git.commit": sha, "git.dirty": "false"} | tags))


def evaluation(above: str, outs: str, status: str = "FINISHED", **tags: str) -> str:
    tags = {parent.PARENT: above, parent.OUTS: outs} | tags
    return create("evaluate", runs.EVALUATION, status, **tags)


def skipped(above: str, source: str) -> str:
    tags = {parent.PARENT: above, parent.SKIPPED: "true", parent.OUTPUTS_FROM: source}
    return create("evaluate (skipped)", runs.EVALUATION, **tags)


def find(which: str) -> runs.EvaluatedRun:
    return runs.find(store.open_store(), which, NAME)


@pytest.fixture
def two(project, monkeypatch):
    """Two rebuilds with an evaluation each."""
    monkeypatch.setattr(registry, "find", lambda store, name, which: None)
    one = rebuild("rebuild demo 1111111", "1" * 40)
    first = evaluation(one, "x")
    other = rebuild("rebuild brave-dog demo 2222222", "2" * 40, **{"dvc.exp": "brave-dog"})
    second = evaluation(other, "y")
    return one, first, other, second


def test_every_name_of_a_rebuild_finds_its_evaluation(two):
    one, first, other, second = two
    for which in (one, first, one[:8], "1" * 40):
        found = find(which)
        assert (found.run_id, found.rebuild_id) == (first, one), which
        assert (found.name, found.commit, found.dirty) == (
            "rebuild demo 1111111",
            "1" * 40,
            False,
        )
    for which in ("brave-dog", "2" * 40):
        assert find(which).run_id == second
    assert find("brave-dog").experiment == "brave-dog"
    assert find("brave-dog").label == f"rebuild brave-dog demo 2222222 [{other[:8]}]"


def test_a_run_of_another_stage_stands_for_its_rebuild(two):
    one, first, _, _ = two
    other_stage = create("train_robust@robust", "train_robust@robust", **{parent.PARENT: one})
    assert find(other_stage).run_id == first


def test_rebuilds_of_a_sweep_are_found_as_any_other(two):
    one, first, other, second = two
    opened = store.open_store()
    sweep = create("sweep wide", "sweep")
    for rebuilt in (one, other):
        opened.client.set_tag(rebuilt, parent.PARENT, sweep)
    assert (find(one).run_id, find(first).rebuild_id) == (first, one)
    assert find("brave-dog").run_id == second
    assert [found.run_id for found in runs.latest(opened, 2)] == [second, first]
    with pytest.raises(CrywatchError, match="no evaluate"):
        find(sweep)


def test_a_branch_or_tag_is_its_commit(two, project):
    _, first, _, _ = two

    def git(*args: str) -> str:
        head = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run([*head, *args], check=True, capture_output=True, text=True).stdout

    git("init", "--quiet", "--initial-branch=topic")
    git("commit", "--quiet", "--allow-empty", "--message=one")
    sha = git("rev-parse", "HEAD").strip()
    mine = evaluation(rebuild("rebuild mine", sha), "z")
    assert find("topic").run_id == find("HEAD").run_id == find(sha[:9]).run_id == mine
    with pytest.raises(CrywatchError, match="no run is called 'gone'"):
        find("gone")
    assert find("1" * 40).run_id == first


def test_the_working_tree_needs_no_run(project):
    found = find("workspace")
    assert (found.run_id, found.rebuild_id) == ("", "") and found.label.startswith("workspace")


def test_a_skipped_evaluation_is_the_run_that_made_its_outputs(two):
    _, first, _, _ = two
    again = rebuild("rebuild again", "3" * 40)
    note = skipped(again, first)
    for which in (again, "3" * 40, note):
        found = find(which)
        assert (found.run_id, found.rebuild_id, found.commit) == (first, again, "3" * 40)
    lost = rebuild("rebuild lost")
    skipped(lost, "")
    with pytest.raises(CrywatchError, match="the run that made its outputs is not in"):
        find(lost)


def test_a_rebuild_without_an_evaluation_says_so(two):
    bare = rebuild("rebuild bare")
    failed = rebuild("rebuild failed")
    evaluation(failed, "z", "FAILED")
    for which in (bare, failed):
        with pytest.raises(CrywatchError, match="no evaluate of it ended well"):
            find(which)


def test_the_last_evaluation_that_ended_well_counts(two):
    one, _, _, _ = two
    repeated = evaluation(one, "z")
    evaluation(one, "w", "KILLED")
    assert find(one).run_id == repeated


def test_an_unknown_name_lists_what_there_is(two):
    one, _, other, _ = two
    with pytest.raises(CrywatchError) as error:
        find("brave-cat")
    said = str(error.value)
    assert "no run is called 'brave-cat'" in said
    assert one[:8] in said and other[:8] in said and "dvc exp brave-dog" in said


def test_a_name_of_several_lists_them_unless_they_are_the_same(two):
    one, first, _, _ = two
    again = rebuild("rebuild demo 1111111", "1" * 40)
    skipped(again, first)  # the same scores
    assert (find("1" * 40).run_id, find("1" * 40).rebuild_id) == (first, again)
    changed = rebuild("rebuild demo 1111111", "1" * 40)
    evaluation(changed, "other scores")
    with pytest.raises(CrywatchError, match="3 runs are called '1{40}', and their scores") as e:
        find("1" * 40)
    assert one[:8] in str(e.value) and changed[:8] in str(e.value)
    assert find(one).run_id == first


def test_the_latest_rebuilds_that_differ(two):
    _, first, _, second = two
    again = rebuild("rebuild again")
    skipped(again, second)
    rebuild("rebuild that failed early")
    found = runs.latest(store.open_store(), 2)
    assert [one.run_id for one in found] == [second, first]
    assert found[0].rebuild_id == again
    assert [one.run_id for one in runs.latest(store.open_store(), 5)] == [second, first]


def test_a_rebuild_that_was_killed_stands_for_the_one_that_went_on(project, monkeypatch):
    killed = rebuild("rebuild killed")
    made = create("calibrate", "calibrate@robust", **{parent.PARENT: killed})
    later = rebuild("rebuild later")
    note = {parent.PARENT: later, parent.SKIPPED: "true", parent.OUTPUTS_FROM: made}
    create("calibrate (skipped)", "calibrate@robust", **note)
    tags = {registry.REBUILD_RUN: killed, registry.STAGE_RUN: made}
    version = ModelVersion(NAME, 7, "r", ("champion",), tags)
    monkeypatch.setattr(registry, "find", lambda store, name, which: version)
    with pytest.raises(CrywatchError, match="rebuild killed.*no evaluate of it ended"):
        find("champion")
    evaluated = evaluation(later, "x")
    assert find("champion").run_id == evaluated


def test_an_alias_or_a_version_is_the_rebuild_that_made_it(two, monkeypatch):
    one, first, _, _ = two
    versions = {
        "champion": ModelVersion(NAME, 7, "r", ("champion",), {registry.REBUILD_RUN: one}),
        "7": ModelVersion(NAME, 7, "r", ("champion",), {registry.REBUILD_RUN: one}),
        "8": ModelVersion(NAME, 8, "r", (), {registry.REBUILD_RUN: ""}),
    }
    asked = []

    def fake(store, name, which):
        asked.append((name, which))
        return versions.get(which)

    monkeypatch.setattr(registry, "find", fake)
    assert find("champion").run_id == find("7").run_id == find(f"{NAME}/7").run_id == first
    assert asked == [(NAME, "champion"), (NAME, "7"), (NAME, "7")]
    with pytest.raises(CrywatchError, match="no version of cry-detector is the challenger"):
        find("challenger")
    with pytest.raises(CrywatchError, match="version 8 of cry-detector"):
        find("8")


@pytest.fixture
def committed(two, project) -> str:
    """A commit whose dvc.lock holds an evaluation, and the run that made it: at no commit here."""
    write_lock({runs.EVALUATION: ([], {"data/evaluate": "1" * 32})})
    git(project, "init", "--quiet", "--initial-branch=topic")
    for name, value in (("name", "a"), ("email", "a@b")):
        git(project, "config", f"user.{name}", value)
    git(project, "add", "dvc.lock")
    git(project, "commit", "--quiet", "-m", "one")
    entry = lineage.entry_digest(lineage.lock_stages()[runs.EVALUATION])
    return evaluation(rebuild("rebuild before"), "z", **{entries.ENTRY: entry})


def test_a_commit_is_what_its_lock_holds_where_no_rebuild_began_with_it(committed, project):
    head = git(project, "rev-parse", "HEAD")
    assert find("topic").run_id == find(head[:9]).run_id == committed
    for name in ("keen", "shy"):  # experiments that began with it are not the commit
        evaluation(rebuild(f"rebuild {name}", head, **{finding.EXPERIMENT: name}), name)
    assert find("HEAD").run_id == committed
    rebuild("rebuild of another stage", head)
    assert find("HEAD").run_id == committed
    own = evaluation(rebuild("rebuild of it", head), "own")
    assert find("HEAD").run_id == own


def test_an_experiment_that_dvc_found_made_before_has_the_scores_that_were_made(committed, project):
    head = git(project, "rev-parse", "HEAD")
    git(project, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/quiet", head)
    assert find("quiet").run_id == committed
    noted = rebuild("rebuild quiet (skipped)", **{finding.EXPERIMENT: "quiet"})
    for which in ("quiet", noted):
        found = find(which)
        assert (found.run_id, found.rebuild_id) == (committed, noted)


def test_more_runs_than_a_page_are_all_seen(two, monkeypatch):
    monkeypatch.setattr(store, "PAGE", 1)
    _, first, _, second = two
    assert find("1" * 40).run_id == first
    assert [one.run_id for one in runs.latest(store.open_store(), 2)] == [second, first]


def test_a_run_without_its_scores_says_what_to_do(two, tmp_path):
    _, first, _, _ = two
    with pytest.raises(CrywatchError, match="measured.parquet of run .* cannot be had"):
        runs.artifact(store.open_store(), find(first), "measured.parquet", tmp_path)


def test_a_comparison_links_to_what_it_compares(two, tmp_path):
    _, first, _, second = two
    opened = store.open_store()
    (tmp_path / "comparison.csv").write_text("a\n")
    pair = (find(first), find(second))
    file = tmp_path / "comparison.csv"
    run_id = runs.log_comparison(opened, "compare", [pair], [file], {"m/auc_difference": 0.1})
    run = opened.client.get_run(run_id)
    tags = run.data.tags
    assert (tags[runs.FIRST], tags[runs.SECOND]) == (first, second)
    assert f"runs/{first}" in tags["mlflow.note.content"]
    assert run.data.metrics == {"m/auc_difference": 0.1}
    assert [one.run_id for one in runs.latest(opened, 2)] == [second, first]  # it is no rebuild


KILLED = """
import os, sys
from pathlib import Path
from crywatch.tracking import runs, store
opened = store.open_store()
opened.client.log_artifact = lambda *_: os.kill(os.getpid(), 9)
pair = [runs.find(opened, name, "cry-detector") for name in sys.argv[1:]]
runs.log_comparison(opened, "compare", [pair], [Path("params.yaml")], {})
"""


def test_a_comparison_that_was_killed_is_marked_so(two, project):
    _, first, _, second = two
    done = subprocess.run([sys.executable, "-c", KILLED, first, second], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [left] = all_runs(**{parent.STAGE: runs.COMPARISON})
    assert left.info.status == "RUNNING", "nobody could say more"
    with tracking.stage_run("many"):
        pass
    [left] = all_runs(**{parent.STAGE: runs.COMPARISON})
    assert left.info.status == "KILLED"


@pytest.fixture
def server(project, monkeypatch):
    """A tracking server that serves artifacts itself, as on another machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{project}/mlflow.db"]
    command += ["--artifacts-destination", str(project / "served")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address = f"http://127.0.0.1:{port}"
    with open(project / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            wait_for(f"{address}/health", process, project / "server.log")
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Until the server answers."""
    until_s = time.monotonic() + 180
    while time.monotonic() < until_s:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_runs_and_scores_come_from_a_server_too(server, tmp_path):
    one = rebuild("rebuild far", "4" * 40)
    run_id = evaluation(one, "x")
    opened = store.open_store()
    assert opened.uri == server
    Path("measured.parquet").write_bytes(b"scores")
    opened.client.log_artifact(run_id, "measured.parquet")
    with runs.project_store() as store_there:
        found = runs.find(store_there, "4" * 40, NAME)
        file = runs.artifact(store_there, found, "measured.parquet", tmp_path / "fetched")
        assert (found.run_id, file.read_bytes()) == (run_id, b"scores")
        assert runs.log_comparison(store_there, "compare", [(found, found)], [file], {})
        with pytest.raises(CrywatchError, match="no run is called"):
            runs.find(store_there, "f" * 32, NAME)
    said = "tracking store: RestException: INVALID_PARAMETER_VALUE"
    with pytest.raises(CrywatchError, match=said), runs.project_store() as store_there:
        store_there.client.search_runs(["0"], "no filter")
