"""Runs, parents and lineage, each test on its own SQLite store in a temporary project."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from crywatch import tracking
from crywatch.digest import file_sha256
from crywatch.tracking import lineage, parent, store
from crywatch.tracking.failure import store_is_lost
from crywatch.tracking.plan import planned_stages

ROOT = Path(__file__).resolve().parents[1]

PARAMS = {
    "seed": 3,
    "profile": "tiny",
    "schedule": {"scale": 0.5},
    "tracking": {"uri": "sqlite:///mlflow.db", "artifacts": "mlartifacts", "experiment": "cry"},
    "split": {"ratio": [8, 1, 1], "near": {"window_s": 2.0}},
    "clean": {"rate_hz": 16000},
    "train_miner": {
        "top_k": 2,
        "datasets": {"trimmed": {"segments": 5}, "untrimmed": {"segments": 10}},
    },
    "corpora": ["esc50"],
    "train_blazenet": {
        "lr": 0.001,
        "variants": {"all_1s": {"segment_s": 1.0}, "all_5s": {"segment_s": 5.0}},
    },
    "many": {f"p{i}": i for i in range(150)},  # more than one request may carry
}


@dataclass(frozen=True)
class NewProject:
    """One stage in a folder without a store."""

    folder: Path
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def new_project(tmp_path_factory) -> NewProject:
    """MLflow takes seconds to make its tables: made once, by a stage, and copied for each test."""
    folder = tmp_path_factory.mktemp("new")
    config = PARAMS | {"tracking": PARAMS["tracking"] | {"experiment": "new"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(config))
    code = "from crywatch import tracking\nwith tracking.stage_run('split'): pass"
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=folder, env=keep, capture_output=True, text=True)
    return NewProject(folder, said)


@pytest.fixture
def empty_store(new_project) -> Path:
    """A store with MLflow's tables and without the experiment of the tests."""
    return new_project.folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, monkeypatch, empty_store) -> Path:
    """A project folder that is the working directory, with an empty store."""
    import mlflow

    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    # mlflow.set_tracking_uri writes it; setting it first makes monkeypatch clean up after.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    # Whatever pytest itself runs under, and outside the project's own git repository.
    monkeypatch.setattr(parent, "rebuild_process", parent.this_process)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    # Absolute: MLflow keeps one store open for each address in a process.
    here = PARAMS | {"tracking": PARAMS["tracking"] | {"uri": f"sqlite:///{tmp_path}/mlflow.db"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(here))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    store.open_store.cache_clear()
    yield tmp_path
    store.open_store.cache_clear()
    mlflow.set_tracking_uri(None)


def runs(**tags: str) -> list:
    """All runs with these tags, oldest first."""
    opened = store.open_store()
    found = opened.client.search_runs(
        [opened.experiment_id], order_by=["attributes.start_time ASC"], max_results=1000
    )
    return [run for run in found if all(run.data.tags.get(k) == v for k, v in tags.items())]


def stage(name: str) -> object:
    """The one run of a stage that is no note of a skip."""
    found = [r for r in runs(**{parent.STAGE: name}) if parent.SKIPPED not in r.data.tags]
    assert len(found) == 1
    return found[0]


def history(run: object, metric: str) -> list[tuple[int, float]]:
    client = store.open_store().client
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric)]


def artifacts(run: object, folder: str = "") -> set[str]:
    client = store.open_store().client
    return {file.path for file in client.list_artifacts(run.info.run_id, folder or None)}


# A stage's run


def test_a_stage_records_what_it_ran_with(project):
    with tracking.stage_run("split") as log:
        log.metrics({"clips": 12, "seconds": 60.5})
    run = stage("split")
    assert run.info.run_name == "split"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == {
        "ratio": "[8, 1, 1]",
        "near.window_s": "2.0",
        "seed": "3",
        "schedule.scale": "0.5",
    }
    assert run.data.metrics["clips"] == 12
    assert run.data.metrics["seconds"] == 60.5
    assert run.data.metrics["duration_s"] >= 0
    assert run.data.metrics["peak_memory_mib"] > 10
    tags = run.data.tags
    assert (tags["stage"], tags["profile"], tags["dvc.stage"]) == ("split", "tiny", "split")


def test_a_key_names_the_run_and_picks_its_variant(project):
    with tracking.stage_run("train_blazenet", "all_5s"):
        pass
    run = stage("train_blazenet@all_5s")
    assert run.info.run_name == run.data.tags["dvc.stage"] == "train_blazenet@all_5s"
    assert (run.data.tags["stage"], run.data.tags["variant"]) == ("train_blazenet", "all_5s")
    assert run.data.params["segment_s"] == "5.0"
    assert run.data.params["lr"] == "0.001"
    assert not [name for name in run.data.params if name.startswith("variants")]


def test_a_section_may_have_more_parameters_than_one_request_takes(project):
    with tracking.stage_run("many"):
        pass
    assert len(stage("many").data.params) == 152


def test_metrics_of_every_epoch_are_kept_with_their_step(project):
    with tracking.stage_run("split") as log:
        for epoch in range(450):  # more than one batch
            log.metrics({"loss": 1 / (epoch + 1)}, step=epoch)
    kept = sorted(history(stage("split"), "loss"))
    assert kept == [(epoch, pytest.approx(1 / (epoch + 1))) for epoch in range(450)]


def test_metrics_are_sent_in_batches(project, monkeypatch):
    sent = []
    with tracking.stage_run("split") as log:
        client = store.open_store().client
        whole = type(client).log_batch

        def log_batch(self, run_id, metrics=(), **rest):
            if run_id == log._run_id:
                sent.append(len(metrics))
            return whole(self, run_id, metrics=metrics, **rest)

        monkeypatch.setattr(type(client), "log_batch", log_batch)
        for epoch in range(250):
            log.metrics({"loss": 0.5, "auc": 0.9}, step=epoch)
    assert len(sent) <= 4
    assert sum(sent) == 502  # with duration and peak memory


def test_metrics_that_are_none_are_left_out_and_nan_is_kept(project):
    with tracking.stage_run("split") as log:
        log.metrics({"none": None, "nan": float("nan"), "one": np.float32(1)})
    metrics = stage("split").data.metrics
    assert "none" not in metrics
    assert np.isnan(metrics["nan"])
    assert metrics["one"] == 1


def test_one_call_may_log_more_metrics_than_one_request_takes(project):
    with tracking.stage_run("split") as log:
        log.metrics({f"m{number}": 1.0 for number in range(1500)})
    assert len([name for name in stage("split").data.metrics if name[1:].isdigit()]) == 1500


def test_headline_metrics_are_on_the_parent_too(project):
    with tracking.stage_run("split") as log:
        log.headline({"auc": 0.91, "none": None})
    assert stage("split").data.metrics["auc"] == 0.91
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.data.metrics["auc"] == 0.91
    assert "none" not in rebuild.data.metrics


def test_files_tables_figures_and_texts_are_artifacts(project):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    Path("summary.json").write_text("{}")
    Path("folder").mkdir()
    Path("folder/inside.txt").write_text("x")
    with tracking.stage_run("split") as log:
        log.figure(figure, "roc.png")
        log.table(pd.DataFrame({"corpus": ["esc50"], "clips": [4]}), "split.csv")
        log.text("# Words", "notes.md")
        log.artifact("summary.json")
        log.artifact("folder", "kept")
    run = stage("split")
    assert artifacts(run) == {"figures", "tables", "notes.md", "summary.json", "kept"}
    assert artifacts(run, "figures") == {"figures/roc.png"}
    assert artifacts(run, "kept") == {"kept/inside.txt"}
    table = project / "mlartifacts" / run.info.run_id / "artifacts/tables/split.csv"
    assert table.read_text() == "corpus,clips\nesc50,4\n"


def test_a_data_set_is_an_input_with_its_digest(project):
    Path("clips.parquet").write_bytes(b"clips")
    with tracking.stage_run("split") as log:
        log.dataset("clips", "clips.parquet")
    [used] = stage("split").inputs.dataset_inputs
    assert used.dataset.name == "clips"
    assert file_sha256("clips.parquet").startswith(used.dataset.digest)
    assert len(used.dataset.digest) >= 32
    assert json.loads(used.dataset.source) == {"uri": "clips.parquet"}


def test_the_path_of_a_data_set_may_hold_a_quote(project):
    Path('two "words".csv').write_text("x")
    with tracking.stage_run("split") as log:
        log.dataset("words", 'two "words".csv')
    [used] = stage("split").inputs.dataset_inputs
    assert json.loads(used.dataset.source) == {"uri": 'two "words".csv'}


def test_a_stage_of_one_corpus_is_tagged_with_it(project):
    with tracking.stage_run("clean", "esc50"):
        pass
    with tracking.stage_run("train_blazenet", "all_1s"):
        pass
    assert stage("clean@esc50").data.tags["corpus"] == "esc50"
    assert "corpus" not in stage("train_blazenet@all_1s").data.tags


def test_the_data_set_of_a_miner_is_picked_by_its_key(project):
    with tracking.stage_run("train_miner", "untrimmed"):
        pass
    logged = stage("train_miner@untrimmed").data.params
    assert logged == {"top_k": "2", "segments": "10", "seed": "3", "schedule.scale": "0.5"}


def test_sections_that_dvc_yaml_lists_are_parameters_too(project):
    body = {"cmd": "true", "params": ["clean", "split", "train_blazenet.lr"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"clean": body}}))
    with tracking.stage_run("clean"):
        pass
    logged = stage("clean").data.params
    assert logged["rate_hz"] == "16000"
    assert logged["split.near.window_s"] == "2.0"
    assert not [name for name in logged if name.startswith(("clean", "train_blazenet"))]


def test_outputs_are_recorded_in_the_form_of_dvc_lock(project):
    Path("data/split").mkdir(parents=True)
    Path("data/split/split.csv").write_text("clip_id\n")
    Path("one.json").write_text("{}")
    with tracking.stage_run("split") as log:
        log.outputs("data/split", Path("one.json"))
    tags = stage("split").data.tags
    assert tags["out.data/split"] == dvc_md5(project / "data/split")
    assert tags["out.one.json"] == dvc_md5(project / "one.json")
    write_lock(
        {
            "split": (
                [],
                {"one.json": tags["out.one.json"], "data/split": tags["out.data/split"]},
            )
        }
    )
    assert tags[parent.OUTS] == lineage.outs_digest(lineage.lock_stages()["split"].outs)


def test_a_stage_that_fails_is_failed_and_so_is_its_parent(project):
    with pytest.raises(ValueError, match="no clips"), tracking.stage_run("split") as log:
        log.metrics({"clips": 1})
        raise ValueError("no clips")
    run = stage("split")
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "ValueError: no clips"
    assert run.data.metrics["clips"] == 1, "what came before the error is kept"
    assert [r.info.status for r in runs(**{parent.STAGE: "rebuild"})] == ["FAILED"]


def test_the_environment_names_the_experiment_of_dvc(project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    with tracking.stage_run("split"):
        pass
    assert {run.data.tags["dvc.exp"] for run in runs()} == {"puffy-daks"}


def test_the_commit_is_recorded_and_only_the_lock_may_change_unnoticed(project):
    def git(*args: str) -> str:
        named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", *named, *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert lineage.commit() == lineage.Commit("", False)
    git("init", "--quiet")
    Path("dvc.lock").write_text("stages: {}\n")
    git("add", "params.yaml", "dvc.lock")
    git("commit", "--quiet", "-m", "first")
    sha = git("rev-parse", "HEAD")
    Path("dvc.lock").write_text("stages: {split: {}}\n")
    assert lineage.commit() == lineage.Commit(sha, False), "DVC writes the lock while it runs"
    with tracking.stage_run("split"):
        pass
    assert stage("split").data.tags["git.commit"] == sha
    assert stage("split").data.tags["git.dirty"] == "false"
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.info.run_name == f"manual tiny {sha[:7]}"
    Path("params.yaml").write_text("seed: 4\n")
    assert lineage.commit() == lineage.Commit(sha, True)


# The parent


def test_stages_of_one_rebuild_share_a_parent(project):
    for name in ("clean", "split"):
        with tracking.stage_run(name):
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


class FakeProcess:
    """What psutil says of an ancestor."""

    def __init__(self, pid: int, *words: str) -> None:
        self.pid, self.words = pid, list(words)

    def cmdline(self) -> list[str]:
        return self.words

    def create_time(self) -> float:
        return float(self.pid)


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
            assert stage("split").info.status == "RUNNING"
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert stage("split").info.status == "RUNNING", "nobody could say more"
    with tracking.stage_run("many"):
        pass
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
    together = threading.Barrier(4)

    def find() -> None:
        together.wait()
        found.append(parent.find_or_create(opened, "tiny"))

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
    assert names == ["manual tiny", "rebuild puffy-daks tiny"]


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


# Stages that DVC skipped


def write_lock(stages: dict[str, tuple[list[str], dict[str, str]]]) -> None:
    """dvc.lock and dvc.yaml from stage to its deps and its outs with their digests."""
    lock, plan = {}, {}
    for name, (deps, outs) in stages.items():
        lock[name] = {
            "cmd": "true",
            "deps": [{"path": path, "hash": "md5", "md5": "0" * 32} for path in deps],
            "outs": [{"path": path, "hash": "md5", "md5": md5} for path, md5 in outs.items()],
        }
        plan[name] = {"cmd": "true", "deps": deps, "outs": list(outs)}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": plan}))


def made(path: str, text: str) -> dict[str, str]:
    """An output on disk, path to digest."""
    Path(path).mkdir(parents=True, exist_ok=True)
    Path(path, "clips.csv").write_text(text)
    return {path: lineage.dvc_digest(Path(path))}


def rebuild(monkeypatch, number: int) -> None:
    """From here on the stages belong to this rebuild."""
    process = parent.Process(os.getpid(), float(number))
    monkeypatch.setattr(parent, "rebuild_process", lambda: process)


def test_upstream_follows_files_in_folders_and_folders_around_them():
    def entry(deps: list[str], outs: list[str]) -> lineage.Entry:
        return lineage.Entry("true", tuple(deps), dict.fromkeys(outs, ""))

    stages = {
        "clean@a": entry(["src/clean.py"], ["data/clean/a"]),
        "clean@b": entry([], ["data/clean/b"]),
        "split": entry(["data/clean"], ["data/split"]),
        "mine": entry(["data/split/clips.parquet"], ["data/mine"]),
        "lookalike": entry([], ["data/split2"]),
        "report": entry(["data/mine"], ["data/reports"]),
    }
    assert lineage.upstream("mine", stages) == ["clean@a", "clean@b", "split"]
    assert lineage.upstream("clean@a", stages) == []
    assert lineage.upstream("unknown", stages) == []


def test_a_skipped_stage_leaves_one_note_that_names_the_run_it_came_from(project, monkeypatch):
    rebuild(monkeypatch, 1)
    clean = made("data/clean/esc50", "one")
    with tracking.stage_run("clean", "esc50") as log:
        log.outputs("data/clean/esc50")
    source = stage("clean@esc50").info.run_id
    write_lock(
        {
            "clean@esc50": ([], clean),
            "split": (["data/clean"], made("data/split", "split")),
            "mine": (["data/split"], made("data/mine", "mine")),
        }
    )
    rebuild(monkeypatch, 2)
    for name in ("split", "split"):
        with tracking.stage_run(name):
            pass
    [note] = runs(**{parent.SKIPPED: "true"})
    tags = note.data.tags
    assert note.info.run_name == "clean@esc50 (skipped)"
    assert note.info.status == "FINISHED"
    assert tags["crywatch.outputs_from"] == source
    assert source in tags["mlflow.note.content"]
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs(**{parent.STAGE: "split"})}
    assert parents == {tags["mlflow.parentRunId"]}
    assert tags["mlflow.parentRunId"] != runs()[0].data.tags.get("mlflow.parentRunId")


def test_a_stage_that_ran_in_this_rebuild_is_no_skip(project, monkeypatch):
    rebuild(monkeypatch, 1)
    write_lock({"clean": ([], made("data/clean", "c")), "split": (["data/clean"], {})})
    for name in ("clean", "split"):
        with tracking.stage_run(name):
            pass
    assert runs(**{parent.SKIPPED: "true"}) == []


def test_the_note_names_the_run_with_the_same_outputs_not_the_last(project, monkeypatch):
    made_by = []
    for number, text in enumerate(("first", "second")):
        rebuild(monkeypatch, number)
        outs = made("data/clean", text)
        with tracking.stage_run("clean") as log:
            log.outputs("data/clean")
        made_by.append((runs(**{parent.STAGE: "clean"})[-1].info.run_id, outs))
    first, outs = made_by[0]
    write_lock({"clean": ([], outs), "split": (["data/clean"], {})})
    rebuild(monkeypatch, 9)
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == first


def test_outputs_that_no_run_made_are_said_to_be_unknown(project, monkeypatch):
    write_lock({"clean": ([], {"data/clean": "f" * 32 + ".dir"}), "split": (["data/clean"], {})})
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == ""
    assert "not in this store" in note.data.tags["mlflow.note.content"]


def test_the_lock_entry_a_stage_starts_from_is_recorded(project):
    write_lock({"split": ([], {"data/split": "a" * 32})})
    with tracking.stage_run("split"):
        pass
    entry = lineage.lock_stages()["split"]
    assert stage("split").data.tags["dvc.lock.before"] == lineage.entry_digest(entry)


def test_a_new_stage_notes_what_was_skipped_before_it(project):
    write_lock({"clean": ([], made("data/clean", "c")), "split": (["data/clean"], {})})
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    del lock["stages"]["split"]
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    with tracking.stage_run("split"):
        pass
    assert [run.info.run_name for run in runs(**{parent.SKIPPED: "true"})] == ["clean (skipped)"]


def test_the_note_names_a_run_that_finished(project, monkeypatch):
    rebuild(monkeypatch, 1)
    outs = made("data/clean", "c")
    with tracking.stage_run("clean") as log:
        log.outputs("data/clean")
    finished = stage("clean").info.run_id
    with pytest.raises(ValueError, match="later"), tracking.stage_run("clean") as log:
        log.outputs("data/clean")
        raise ValueError("later")
    write_lock({"clean": ([], outs), "split": (["data/clean"], {})})
    rebuild(monkeypatch, 2)
    with tracking.stage_run("split"):
        pass
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["crywatch.outputs_from"] == finished


# With DVC itself


def test_the_plan_is_the_one_that_dvc_makes_of_dvc_yaml(monkeypatch):
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    monkeypatch.chdir(ROOT)
    values = yaml.load(Path("params.yaml").read_text(), lineage.YamlLoader)
    plan = planned_stages(values)
    resolver = DataResolver(
        Repo(uninitialized=True), ".", yaml.safe_load(Path("dvc.yaml").read_text())
    )
    assert sorted(plan) == sorted(resolver.get_keys())
    for name, entry in plan.items():
        [body] = resolver.resolve_one(name).values()
        assert entry.cmd == body["cmd"]
        assert list(entry.deps) == body["deps"]
        assert list(entry.outs) == body["outs"]
        assert list(entry.params) == body["params"]
    assert plan["train_rtfm@untrimmed"].params["train_rtfm.variants.untrimmed"]["segments"] == 10


PLAN = {
    "clean": {
        "foreach": "${corpora}",
        "do": {
            "cmd": "python stage.py clean ${item}",
            "deps": ["stage.py"],
            "params": ["clean"],
            "outs": ["data/clean/${item}"],
        },
    },
    "split": {
        "cmd": "python stage.py split",
        "deps": ["data/clean"],
        "params": ["split", "tiny"],
        "outs": [{"data/split": {"cache": True}}],
    },
}
SCRIPT = """
import sys
from pathlib import Path
from crywatch import tracking
out = Path("data", *sys.argv[1:])
with tracking.stage_run(*sys.argv[1:]) as log:
    out.mkdir(parents=True)
    (out / "x").write_text("x")
    log.outputs(out)
"""


def test_a_rebuild_by_dvc_is_tied_to_its_lock(project):
    values = yaml.safe_load(Path("params.yaml").read_text()) | {"tiny": 1.5e-07}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": PLAN}))
    Path("stage.py").write_text(SCRIPT)

    def dvc(*words: str) -> None:
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    dvc("init", "--quiet", "--no-scm")
    for seconds in (2.0, 3.0):
        values["split"]["near"]["window_s"] = seconds
        Path("params.yaml").write_text(yaml.safe_dump(values))
        dvc("repro")
    lock = lineage.lock_stages()
    first, second = runs(**{parent.STAGE: "rebuild"})
    assert [run.info.run_name for run in (first, second)] == ["rebuild tiny"] * 2
    old, new = runs(**{parent.STAGE: "split"})
    assert old.data.tags["dvc.lock.before"] == ""
    assert new.data.tags["dvc.lock.before"] == old.data.tags["dvc.lock.entry"]
    assert new.data.tags["dvc.lock.entry"] == lineage.entry_digest(lock["split"])
    assert new.data.tags["dvc.lock.entry"] != old.data.tags["dvc.lock.entry"]
    assert new.data.tags["mlflow.parentRunId"] == second.info.run_id
    [used] = new.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.source_type) == ("data/clean/esc50", "dvc")
    assert used.dataset.digest == lock["clean@esc50"].outs["data/clean/esc50"]
    [note] = runs(**{parent.SKIPPED: "true"})
    assert note.data.tags["mlflow.parentRunId"] == second.info.run_id
    assert note.data.tags["crywatch.outputs_from"] == stage("clean@esc50").info.run_id


# DVC's digests


def dvc_md5(path: Path) -> str:
    """What DVC itself would write into dvc.lock."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem
    from dvc_objects.fs.memory import MemoryFileSystem

    odb = HashFileDB(MemoryFileSystem(), f"memory://{path.name}")
    _, _, made = build(odb, str(path), LocalFileSystem(), "md5", dry_run=True)
    return made.hash_info.value


@pytest.mark.parametrize(
    "names",
    [
        ["one.wav"],
        [],
        ["b.wav", "a.wav", "sub/deep/c.wav", "sub/a.wav", "Sub2/z"],
        ["with space.wav", "bébé.wav", "sub é/ü.wav"],
        ["a.wav", ".hidden", "empty"],
    ],
)
def test_a_folder_has_the_digest_that_dvc_gives_it(tmp_path, names):
    folder = tmp_path / "out"
    folder.mkdir()
    write_files(folder, names)
    assert lineage.dvc_digest(folder) == dvc_md5(folder)


def test_a_file_has_the_digest_that_dvc_gives_it(tmp_path):
    file = tmp_path / "x.npy"
    file.write_bytes(b"\r\n\x00" * (1 << 19))  # more than one chunk
    assert lineage.dvc_digest(file) == dvc_md5(file)


def write_files(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else name)


def test_the_digest_of_names_that_differ_by_a_separator(tmp_path):
    write_files(tmp_path / "out", ["a/x", "a-b/x", "a.json"])
    assert lineage.dvc_digest(tmp_path / "out") == dvc_md5(tmp_path / "out")


def test_the_digest_leaves_out_what_dvcignore_names(project):
    write_files(project / "out", ["a"])
    Path(".dvcignore").write_text("# what tools leave\n__pycache__\n*.pyc\n.tmp-*\n/out/top\n")
    before = lineage.dvc_digest(project / "out")
    ignored = [".tmp-1234-a", "sub/.tmp-folder/b", "sub/x.pyc", "__pycache__/y", "top", ".git/z"]
    write_files(project / "out", ignored)
    assert lineage.dvc_digest(project / "out") == before
    assert lineage.dvc_digest(Path("out")) == before
    write_files(project / "out", ["sub/top"])
    assert lineage.dvc_digest(project / "out") != before


def test_an_output_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        lineage.dvc_digest(tmp_path / "nothing")


# Models


class LoudDetector:
    """Each second's score is its mean."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def score(self, wave: np.ndarray) -> np.ndarray:
        return wave.reshape(-1, 16000).mean(axis=1) * self.gain


@pytest.fixture
def loud(monkeypatch) -> None:
    """crywatch.detectors with a loader that needs no network."""

    def load_detector(folder: str) -> LoudDetector:
        return LoudDetector(json.loads(Path(folder, "model.json").read_text())["gain"])

    fake = types.SimpleNamespace(load_detector=load_detector)
    monkeypatch.setitem(sys.modules, "crywatch.detectors", fake)


def test_a_model_is_logged_with_signature_and_example_and_scores_clips(project, loud, monkeypatch):
    import mlflow

    Path("model").mkdir()
    Path("model/model.json").write_text('{"gain": 2.0}')
    opened = store.open_store()
    other = opened.client.create_run(opened.experiment_id, run_name="other").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", other)
    with tracking.stage_run("train_blazenet", "all_1s") as log:
        log.model("blazenet-all_1s", Path("model"))
        log.metrics({"after": 1.0})
    run = stage("train_blazenet@all_1s")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["after"] == 1.0
    assert opened.client.get_run(other).outputs.model_outputs == []
    [output] = run.outputs.model_outputs
    logged = opened.client.get_logged_model(output.model_id)
    assert logged.name == "blazenet-all_1s"
    info = mlflow.models.get_model_info(logged.model_uri)
    assert info.signature.inputs.inputs[0].shape == (-1, -1)
    assert info.signature.inputs.inputs[0].type == np.float32
    assert info.saved_input_example_info is not None
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    waves = np.zeros((2, 32000), dtype=np.float32)
    waves[1, 16000:] = 0.25
    np.testing.assert_allclose(loaded.predict(waves), [0.0, 0.5])
    with pytest.raises(mlflow.exceptions.MlflowException, match="[Ss]chema|type|shape"):
        loaded.predict(waves.astype(str))


# A store that fails


def use_store(monkeypatch, address: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store.open_store.cache_clear()


def everything(log: tracking.StageRun) -> None:
    """One call of each kind."""
    from matplotlib.figure import Figure

    log.metrics({"a": 1.0}, step=1)
    log.headline({"b": 1.0})
    log.tags({"c": "d"})
    log.text("x", "x.md")
    log.table(pd.DataFrame({"x": [1]}), "x.csv")
    log.figure(Figure(), "x.png")
    log.artifact("params.yaml")
    log.dataset("params", "params.yaml")
    log.model("m", "model")
    log.outputs("params.yaml")


def test_a_dead_server_does_not_stop_a_stage_and_is_said_once(project, monkeypatch):
    use_store(monkeypatch, "http://127.0.0.1:9")
    done = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tracking.stage_run("split") as log:
            everything(log)
            done = True
    assert done
    mine = [str(w.message) for w in said if "this stage goes on unrecorded" in str(w.message)]
    assert len(mine) == 1


def test_a_store_that_dies_on_the_way_does_not_stop_a_stage(project, monkeypatch):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with tracking.stage_run("split") as log:
            log.metrics({"a": 1.0})

            def refuse(*args, **kwargs):
                raise OSError("disk full")

            client = type(store.open_store().client)
            for name in ("log_batch", "log_metric", "set_tag", "log_text", "set_terminated"):
                monkeypatch.setattr(client, name, refuse)
            everything(log)
    mine = [str(w.message) for w in said if "this stage goes on unrecorded" in str(w.message)]
    assert mine == ["MLflow store: disk full; this stage goes on unrecorded"]


def test_an_error_of_the_stage_is_raised_with_a_dead_store_too(project, monkeypatch):
    use_store(monkeypatch, "http://127.0.0.1:9")
    with pytest.warns(UserWarning), pytest.raises(KeyError), tracking.stage_run("split"):
        raise KeyError("clip_id")


def test_a_lock_that_cannot_be_read_does_not_stop_a_stage(project):
    Path("dvc.lock").write_text("<<<<<<< HEAD\nstages: {\n")
    done = False
    with pytest.warns(UserWarning), tracking.stage_run("split") as log:
        log.metrics({"a": 1.0})
        done = True
    assert done


@pytest.mark.filterwarnings("ignore:MLflow store")
def test_one_file_that_cannot_be_logged_does_not_lose_the_run(project):
    with tracking.stage_run("split") as log:
        log.artifact("missing.json")
        log.metrics({"clips": 1})
    assert stage("split").info.status == "FINISHED"
    assert stage("split").data.metrics["clips"] == 1


@pytest.mark.filterwarnings("ignore:MLflow store")
def test_a_model_that_cannot_be_logged_leaves_the_run_running(project):
    with tracking.stage_run("split") as log:
        log.model("m", "missing")
        assert stage("split").info.status == "RUNNING"
        log.metrics({"clips": 1})
    assert stage("split").info.status == "FINISHED"
    assert stage("split").data.metrics["clips"] == 1


def wrapped(error: Exception) -> Exception:
    """As MLflow's request wrapper does it."""
    import mlflow

    try:
        try:
            raise error
        except Exception as inner:
            raise mlflow.exceptions.MlflowException(f"failed with {inner}")  # noqa: B904
    except mlflow.exceptions.MlflowException as outer:
        return outer


def test_only_errors_that_will_recur_mean_a_lost_store():
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException, RestException

    def answer(code: str) -> RestException:
        return RestException({"error_code": code, "message": "no"})

    lost = [
        wrapped(requests.ConnectionError("refused")),
        wrapped(requests.Timeout("slow")),
        wrapped(sqlalchemy.exc.OperationalError("insert", {}, Exception("disk I/O error"))),
        OSError(28, "No space left on device"),
        answer("INTERNAL_ERROR"),
        answer("PERMISSION_DENIED"),
    ]
    one = [
        FileNotFoundError("missing.json"),
        PermissionError("secret.json"),
        ValueError("no figure"),
        MlflowException("param changed"),
        answer("INVALID_PARAMETER_VALUE"),
        wrapped(sqlalchemy.exc.IntegrityError("insert", {}, Exception("unique"))),
    ]
    assert [store_is_lost(error) for error in lost] == [True] * len(lost)
    assert [store_is_lost(error) for error in one] == [False] * len(one)


def test_a_server_that_hangs_delays_a_stage_only_briefly(project, monkeypatch):
    assert store.REQUEST_TIMEOUT_S * (store.REQUEST_RETRIES + 1) + store.REQUEST_RETRIES < 10
    monkeypatch.setattr(store, "REQUEST_TIMEOUT_S", 1)
    for name in ("TIMEOUT", "MAX_RETRIES"):  # set first, so that monkeypatch cleans up after
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "")
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store.open_store.cache_clear()
        started = time.monotonic()
        with pytest.warns(UserWarning), tracking.stage_run("split") as log:
            for epoch in range(1000):
                log.metrics({"loss": 1.0}, step=epoch)
            everything(log)
        assert time.monotonic() - started < 6


def test_the_environment_wins_over_the_limits_of_requests(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    store.open_store()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "6"


# The store itself


def test_a_new_project_gets_its_store_without_chatter(new_project):
    said = new_project.said
    assert (said.returncode, said.stdout) == (0, "")
    assert "alembic" not in said.stderr
    assert "INFO" not in said.stderr
    assert (new_project.folder / "mlflow.db").is_file()
    assert not (new_project.folder / "mlruns").exists()


def test_the_environment_names_the_store(project, empty_store, monkeypatch, tmp_path):
    other = tmp_path / "elsewhere.db"
    shutil.copy(empty_store, other)
    use_store(monkeypatch, f"sqlite:///{other}")
    with tracking.stage_run("split"):
        pass
    assert store.open_store().uri == f"sqlite:///{other}"
    assert stage("split").info.status == "FINISHED"


def test_two_processes_may_make_the_experiment_at_once(project):
    opened = []
    real = store.open_store.__wrapped__
    threads = [threading.Thread(target=lambda: opened.append(real())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    assert len({one.experiment_id for one in opened}) == 1


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        ("p", "p"),
        ("p/.dvc/tmp/exps/tmpx1", "p"),
        ("p/.dvc/tmp/exps/standalone/tmpx1", "p"),
        ("p/.dvc/tmp/other", "p/.dvc/tmp/other"),
    ],
)
def test_a_copy_that_dvc_works_in_uses_the_store_of_its_original(
    tmp_path, monkeypatch, inside, found
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / inside).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / inside)
    config = store.TrackingConfig("sqlite:///mlflow.db", "mlartifacts", "cry")
    assert store.uri(config) == f"sqlite:///{tmp_path / found}/mlflow.db"
    assert store.artifacts(config) == (tmp_path / found / "mlartifacts").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert store.uri(config) == "http://server:5000"


def test_the_ui_serves_the_store_on_this_machine_only(project, monkeypatch):
    ran = []
    monkeypatch.setattr(os, "execv", lambda path, command: ran.append(command))
    tracking.ui(port=5001)
    [command] = ran
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--backend-store-uri"] == f"sqlite:///{project}/mlflow.db"
    assert (options["--host"], options["--port"]) == ("127.0.0.1", "5001")
    assert options["--default-artifact-root"] == (project / "mlartifacts").as_uri()
