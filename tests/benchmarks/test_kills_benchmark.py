"""The benchmark of kills, on three stages: they are killed, all is as undisturbed, and it tells."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import aftermath, operations
from benchmarks.aftermath import Aftermath, _read_runs
from tests.helpers.dvc_cases import dvc, environment, make_project
from tests.helpers.tracking_cases import ROOT

pytest_plugins = ["tests.helpers.tracking_fixtures"]
pytestmark = pytest.mark.nightly

STAGE_S = 1.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, new_project):
    """Folder and seconds of a rebuild that nobody killed."""
    folder = tmp_path_factory.mktemp("kills") / "undisturbed"
    make_project(folder, STAGE_S, new_project.folder / "mlflow.db")
    shutil.copytree(folder, folder.with_name("disturbed"))
    start = time.monotonic()
    dvc(folder, "repro")
    return folder, time.monotonic() - start


def command(undisturbed, *more: str) -> list[str]:
    folder, seconds = undisturbed
    words = [
        sys.executable,
        "-m",
        "benchmarks.kills",
        "--project",
        str(folder.with_name("disturbed")),
    ]
    words += ["--reference", str(folder / "dvc.lock"), "--expected-seconds", f"{seconds:.1f}"]
    return [*words, *more]


def test_three_kills_change_nothing_and_their_cost_is_told(undisturbed, tmp_path):
    told = tmp_path / "kills.json"
    words = command(undisturbed, "--kills", "3", "--seed", "4", "--json", str(told))
    ended = subprocess.run(words, env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(told.read_text())
    rebuild, after = report["rebuild"], report["after"]
    assert report["ok"] and rebuild["done"] and len(rebuild["kills"]) == 3
    assert rebuild["attempts"] == 4 and rebuild["needed_person"] == []
    moments = [kill["at_s"] for kill in rebuild["kills"]]
    assert moments == sorted(moments) and moments[-1] < rebuild["seconds"]
    assert after["equal"] == 3
    for empty in ("different", "wrong", "half", "undelivered", "running", "failed"):
        assert after[empty] == [], empty
    assert after["killed"] <= 3 and after["cut_s"] <= rebuild["seconds"]
    assert report["overhead_s"] == pytest.approx(rebuild["seconds"] - report["expected_s"])
    assert {one["stage"] for one in after["again"]} <= {"first", "second", "third"}
    assert "needed a person" in ended.stdout and "killed at" in ended.stdout
    log = undisturbed[0].with_name("disturbed") / "kills.log"
    assert "Running stage 'third'" in log.read_text()


def test_what_is_not_as_undisturbed_is_told(undisturbed, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(undisturbed[0], folder)
    reference = tmp_path / "dvc.lock"
    text = (folder / "dvc.lock").read_text()
    digest = aftermath._outs(folder / "dvc.lock")["data/third"][1]
    reference.write_text(text.replace(digest, "0" * 32 + ".dir"))
    (folder / "data/second/0.txt").write_text("other")
    (folder / "data/.tmp-0123456789ab-third").mkdir()
    work = folder / "data/work/train"
    work.mkdir(parents=True)
    (work / "last.ckpt").touch()
    (folder / "data/work/tracking/spool/000001-left").mkdir(parents=True)
    after = aftermath.look(folder, reference, [], [])
    assert after.equal == 2 and after.different == ["data/third (third)"]
    assert [line.partition(" ")[0] for line in after.wrong] == ["data/second"]
    assert sorted(after.half) == ["data/.tmp-0123456789ab-third", "data/work/train/last.ckpt"]
    assert after.undelivered == ["000001-left"] and after.problems
    assert not aftermath.look(folder, reference, ["third"], []).different


def test_the_work_repeated_is_counted_from_the_runs(undisturbed, tmp_path):
    from mlflow.tracking import MlflowClient

    shutil.copy(undisturbed[0] / "mlflow.db", tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("cry").experiment_id
    now_ms = int(1000 * time.time())

    def add(name: str, status: str, ago_s: float) -> None:
        tags = {"crywatch.stage": name}
        run = client.create_run(experiment, now_ms - int(1000 * ago_s), tags, name)
        client.log_metric(run.info.run_id, "duration_s", 5.0)
        client.set_terminated(run.info.run_id, status)

    undisturbed_runs = Aftermath()
    _read_runs(undisturbed_runs, tmp_path, [])
    assert undisturbed_runs == Aftermath(stage_s=undisturbed_runs.stage_s)
    assert undisturbed_runs.stage_s > 3 * STAGE_S
    add("second", "KILLED", 100)
    add("third", "FINISHED", 0)
    add("fourth", "FAILED", 10)
    client.create_run(experiment, now_ms, {"crywatch.stage": "rebuild"}, "rebuild tiny")
    after = Aftermath()
    kills_s = [now_ms / 1000 - ago_s for ago_s in (200, 93, 20)]
    _read_runs(after, tmp_path, kills_s)
    assert [(one.stage, one.finished, one.killed) for one in after.again] == [
        ("second", 1, 1),
        ("third", 2, 0),
    ]
    assert after.killed == 1 and after.cut_s == pytest.approx(7, abs=0.1)
    assert STAGE_S < after.redone_s < undisturbed_runs.stage_s
    assert [one.partition(" (")[0] for one in after.running] == ["rebuild tiny"]
    assert [one.rpartition(" ")[2] for one in after.failed] == ["FAILED"]


def test_an_interruption_ends_what_runs_and_tells_so_far(undisturbed, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(undisturbed[0], folder, ignore=shutil.ignore_patterns("data", "cache"))
    words = [sys.executable, "-m", "benchmarks.kills", "--project", str(folder), "--kills", "1"]
    words += ["--reference", str(undisturbed[0] / "dvc.lock"), "--expected-seconds", "1000"]
    with subprocess.Popen(
        words, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert "attempt 1" in process.stdout.readline()
        until = time.monotonic() + 30
        while "Running stage" not in (folder / "kills.log").read_text():
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
    assert process.returncode == 1 and "NOT DONE: interrupted" in said
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(folder) not in listed.replace(" ".join(words), "")


def test_a_rebuild_with_nothing_to_do_is_timed_and_one_with_something_refused(
    undisturbed, tmp_path, capsys
):
    target = tmp_path / "operations.json"
    words = ["--project", str(undisturbed[0]), "--rounds", "1", "--json", str(target)]
    assert operations.main(words) == 0
    seconds = {run["name"]: run["seconds"] for run in json.loads(target.read_text())["runs"]}
    assert set(seconds) == set(operations.COMMANDS)
    assert 0 < seconds["python"] < seconds["dvc repro"]
    assert "crywatch repro" in capsys.readouterr().out
    shutil.rmtree(undisturbed[0] / "data/third")
    with pytest.raises(SystemExit, match="something to do"):
        operations.main(words)
