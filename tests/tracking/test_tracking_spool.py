"""A real server that is down, slow, gone in the middle or loses its answers: nothing is lost, and
nothing is there twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from crywatch import tracking
from crywatch.cli import main as cli
from crywatch.core import redact
from crywatch.tracking import entries, journal, lineage, parent, sender, store
from tests.helpers.server_cases import Proxy, mlflow_server
from tests.helpers.tracking_cases import (
    PARAMS,
    artifacts,
    caught_up,
    history,
    rebuild,
    runs,
    sending,
    sent,
    stage,
    stored,
    troubled,
    write_lock,
)

pytest_plugins = ["tests.helpers.tracking_fixtures"]
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def server_port(tmp_path_factory) -> int:
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture
def proxy(server_port, project, monkeypatch) -> Proxy:
    """A way to the server that is up, with an experiment for the test alone."""
    made = Proxy(server_port)
    made.up()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{WAIT_S:.0f}")
    own = {"experiment": project.name, "wait_s": WAIT_S}
    values = PARAMS | {"tracking": PARAMS["tracking"] | own}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    Path("model").mkdir()
    Path("model/model.json").write_text('{"gain": 2.0, "corpora": ["esc50"]}')
    write_lock({"clean": ([], {"data/clean": "c" * 32}), "split": (["data/clean"], {})})
    yield made
    made.down()


STEPS = 30
WAIT_S = 120.0  # more than a busy machine needs


def everything(log: tracking.StageRun) -> None:
    """One call of each kind, among numbers of many steps."""
    from matplotlib.figure import Figure

    for step in range(STEPS):
        log.metrics({"loss": 1 / (step + 1), "nan": float("nan")}, step=step)
        if step == STEPS // 2:
            log.headline({"auc": 0.9})
            log.tags({"c": "d"})
            log.text("x", "x.md")
            log.table(pd.DataFrame({"x": [1]}), "x.csv")
            log.figure(Figure(), "x.png")
            log.artifact("model", "kept")
            log.dataset("params", "params.yaml")
            log.model("m", "model")


def check_everything(name: str = "split", status: str = "FINISHED") -> None:
    """What `everything` said is in the store, once."""
    run = stage(name)
    assert run.info.status == status
    assert sorted(history(run, "loss")) == [(n, 1 / (n + 1)) for n in range(STEPS)]
    assert len(history(run, "nan")) == STEPS
    assert history(run, "auc") == [(0, 0.9)] and len(history(run, "duration_s")) == 1
    assert run.data.tags["c"] == "d"
    assert run.data.params["seed"] == "3"
    assert artifacts(run) == {"x.md", "tables", "figures", "kept"}
    assert artifacts(run, "kept") == {"kept/model.json"}
    assert sorted(used.dataset.name for used in run.inputs.dataset_inputs) == [
        "data/clean",
        "params",
    ]
    [output] = run.outputs.model_outputs
    opened = store.open_store()
    [logged] = opened.client.search_logged_models([opened.experiment_id])
    assert (logged.model_id, logged.name, str(logged.status)) == (output.model_id, "m", "READY")
    assert logged.tags["commercial_use"] == run.data.tags["commercial_use"] == "no"
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert run.data.tags[parent.PARENT] == rebuild.info.run_id
    assert history(rebuild, "auc") == [(0, 0.9)]
    assert (rebuild.info.status, rebuild.data.metrics["n_stages"]) == (status, 1)
    assert [note.info.run_name for note in runs(**{parent.SKIPPED: "true"})] == ["clean (skipped)"]
    assert journal.journals() == []


def deliver_all() -> list[sender.Delivery]:
    store.open_store.cache_clear()
    return list(sender.deliver())


def test_with_the_server_up_everything_is_there_at_the_end(proxy, capsys):
    with tracking.stage_run("split") as log:
        everything(log)
    assert capsys.readouterr().out == ""
    check_everything()


def test_a_server_that_is_down_from_the_beginning_gets_it_later(proxy):
    proxy.down()
    before_ms = time.time() * 1000
    with tracking.stage_run("split") as log:
        everything(log)
        within_ms = time.time() * 1000
    assert not sent()
    time.sleep(0.2)
    proxy.up()
    [done] = deliver_all()
    assert (done.name, done.left, done.why, done.address) == ("split", 0, "", proxy.address)
    check_everything()
    run = stage("split")
    assert before_ms - 1 <= run.info.start_time <= within_ms, "when it was, not when it was told"
    assert run.info.start_time <= run.info.end_time
    assert list(sender.deliver()) == []


def test_a_server_that_dies_and_comes_back_is_caught_up_with(proxy):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with sending(), tracking.stage_run("split") as log:
            log.tags({"c": "early"})
            assert caught_up()
            proxy.down()
            everything(log)
            assert not caught_up(5)
            proxy.up()
            assert caught_up()
    assert len([w for w in said if "MLflow store" in str(w.message)]) == 1
    check_everything()


def test_a_slow_server_does_not_slow_a_stage(proxy):
    proxy.delay_s = 0.2
    with sending(), tracking.stage_run("split") as log:
        started = time.monotonic()
        for step in range(1000):
            log.metrics({"loss": 1 / (step + 1)}, step=step)
        assert time.monotonic() - started < 20, "a thousand answers take 200 s"
    assert len(history(stage("split"), "loss")) == 1000
    assert journal.journals() == []


def test_the_end_of_a_stage_waits_for_nothing(proxy):
    proxy.delay_s = 2.0
    with sending():
        with tracking.stage_run("split") as log:
            everything(log)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        assert journal.journals(), "it is sent after the stage"
        proxy.delay_s = 0.0
    check_everything()


def test_answers_that_are_lost_make_nothing_twice(proxy):
    """The server did it, and the connection broke before it could say so."""
    draw = random.Random(1)
    proxy.loses = lambda line: b"artifacts" not in line and draw.random() < 0.12
    with tracking.stage_run("split") as log:
        everything(log)
    assert wait_until(lambda: not [done for done in deliver_all() if done.left])
    assert proxy.lost > 1
    proxy.reset()
    check_everything()


@pytest.mark.parametrize("request_", [b"runs/create", b"logged-models", b"log-batch"])
def test_one_kind_of_answer_that_is_lost_makes_nothing_twice(proxy, request_):
    proxy.loses = lambda line: request_ in line
    with tracking.stage_run("split") as log:
        everything(log)
    for _ in range(3):
        deliver_all()
    assert proxy.lost >= 1
    proxy.reset()
    deliver_all()
    check_everything()


def test_what_was_delivered_can_be_delivered_again(proxy, monkeypatch):
    """As after a power cut that took the cursor."""
    kept = []
    finish = journal.Journal.finish

    def keep(journal) -> None:
        (journal.folder / "cursor.json").unlink()
        kept.append(journal.folder)
        journal.close()

    monkeypatch.setattr(journal.Journal, "finish", keep)
    with tracking.stage_run("split") as log:
        everything(log)
    assert sent()
    assert len(kept) == 1 and len(journal.journals()) == 1
    monkeypatch.setattr(journal.Journal, "finish", finish)
    [done] = deliver_all()
    assert done.records > 15 and done.left == 0
    check_everything()


def test_what_dvc_wrote_of_a_stage_reaches_its_run_once(proxy, monkeypatch):
    rebuild(monkeypatch, 1)
    proxy.down()
    with tracking.stage_run("split"):
        pass
    split = {"data/split": "5" * 32}
    write_lock({"clean": ([], {"data/clean": "c" * 32}), "split": (["data/clean"], split)})
    with tracking.stage_run("mine"):
        pass
    proxy.up()
    deliver_all()
    entry = lineage.lock_stages()["split"]
    tags = stage("split").data.tags
    assert tags[entries.ENTRY] == lineage.entry_digest(entry)
    assert tags["out.data/split"] == "5" * 32
    assert tags[parent.OUTS] == lineage.outs_digest(split)
    assert entries.ENTRY not in stage("mine").data.tags
    assert [note.info.run_name for note in runs(**{parent.SKIPPED: "true"})] == ["clean (skipped)"]


def test_a_clock_that_goes_back_upsets_nothing(proxy, monkeypatch):
    clock = {"now": time.time()}
    monkeypatch.setattr(time, "time", lambda: clock["now"])
    with tracking.stage_run("clean"):
        pass
    clock["now"] -= 86_400
    with tracking.stage_run("split") as log:
        log.metrics({"loss": 1.0}, step=0)
        clock["now"] -= 3600
        log.metrics({"loss": 2.0}, step=0)
        time.sleep(0.05)
        log.metrics({"loss": 3.0}, step=0)
    run = stage("split")
    assert run.data.metrics["loss"] == 3.0 and len(history(run, "loss")) == 3
    assert run.data.metrics["duration_s"] > 0 and run.info.end_time >= run.info.start_time
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.data.metrics["n_stages"] == 2
    assert rebuild.info.end_time >= rebuild.info.start_time


def test_two_deliverers_at_once_make_nothing_twice(proxy):
    proxy.down()
    for name in ("clean", "split", "many"):
        with tracking.stage_run(name) as log:
            log.metrics({"loss": 1.0}, step=1)
    proxy.up()
    code = "from crywatch.tracking import sender\nfor d in sender.deliver(): print(d.line())"
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    said = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert deliver_all() == []
    for name in ("clean", "split", "many"):
        assert history(stage(name), "loss") == [(1, 1.0)]
    [rebuild] = runs(**{parent.STAGE: "rebuild"})
    assert rebuild.data.metrics["n_stages"] == 3


# Killed

CHILD = """
import sys, time
from crywatch import tracking
from crywatch.tracking import parent
parent.rebuild_process = parent.this_process
with tracking.stage_run("split") as log:
    print("inside", flush=True)
    for step in range(10**9):
        log.metrics({"loss": float(step)}, step=step)
        print(step, flush=True)
        if step % 200 == 0:
            log.text(str(step), f"texts/{step}.md")
        time.sleep(0.0005)
"""


@pytest.mark.parametrize("up", [True, False])
def test_a_stage_that_is_killed_loses_nothing_that_it_said(proxy, up):
    if not up:
        proxy.down()
    draw = random.Random(7)
    last = {}
    for number in range(3):
        command = [sys.executable, "-c", CHILD]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as child:
            assert child.stdout.readline() == "inside\n"
            drain = threading.Thread(
                target=lambda c=child, n=number: last.update({n: c.stdout.read()})
            )
            drain.start()
            time.sleep(draw.uniform(0.2, 1.5))
            child.send_signal(signal.SIGKILL)
            drain.join()
    proxy.up()
    assert not [done for done in deliver_all() if done.left]
    killed = runs(**{parent.STAGE: "split"})
    assert [run.info.status for run in killed] == ["KILLED"] * 3
    assert all(run.info.end_time >= run.info.start_time for run in killed)
    for run, said in zip(killed, (last[n] for n in sorted(last)), strict=True):
        steps = sorted(history(run, "loss"))
        printed = int(said.splitlines()[-1]) + 1
        assert steps == [(step, float(step)) for step in range(len(steps))]
        assert printed <= len(steps) <= printed + 1
        assert len(artifacts(run, "texts")) in ((printed + 199) // 200 - 1, (printed + 199) // 200)
    assert {run.info.status for run in runs(**{parent.STAGE: "rebuild"})} == {"KILLED"}
    assert journal.journals() == []


def test_a_run_whose_end_is_still_in_the_spool_is_not_called_killed(proxy, monkeypatch):
    with tracking.stage_run("split"):
        assert sent()
        proxy.down()
    monkeypatch.setattr(parent.Process, "alive", lambda self: False)
    proxy.up()
    parent.mark_killed(store.open_store())
    [left] = stored(**{parent.STAGE: "split"})
    assert left.info.status == "RUNNING"
    deliver_all()
    assert stage("split").info.status == "FINISHED"


# The command


def test_the_command_tells_what_it_delivered_and_what_is_left(proxy):
    proxy.down()
    with tracking.stage_run("split") as log:
        log.metrics({"loss": 1.0})
    command = CliRunner()
    failed = command.invoke(cli.app, ["deliver"])
    assert failed.exit_code == 1
    assert "split: 0 records" in failed.output and "left" in failed.output
    proxy.up()
    done = command.invoke(cli.app, ["deliver"])
    assert done.exit_code == 0, done.output
    assert proxy.address in done.output and "left" not in done.output
    assert command.invoke(cli.app, ["deliver"]).output == "nothing to deliver\n"


def test_what_was_meant_for_another_store_waits_for_it_unless_told_otherwise(
    proxy, project, monkeypatch
):
    proxy.down()
    with tracking.stage_run("split"):
        pass
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["tracking"]["uri"] = f"sqlite:///{project}/mlflow.db"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    store.open_store.cache_clear()
    with sending(), tracking.stage_run("clean"):
        pass
    assert len(journal.journals()) == 1
    command = CliRunner()
    assert command.invoke(cli.app, ["deliver"]).exit_code == 1
    assert command.invoke(cli.app, ["deliver", "--here"]).exit_code == 0
    assert stage("split").info.status == stage("clean").info.status == "FINISHED"


# Credentials


def test_credentials_reach_the_server_and_nothing_else(proxy, project, monkeypatch):
    secret = "h0tcoffee"
    monkeypatch.setattr(redact, "_learnt", set())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{secret}@127.0.0.1:{proxy.port}")
    proxy.down()
    with warnings.catch_warnings(record=True) as said, sending():
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=secret), tracking.stage_run("split") as log:
            assert troubled()
            log.tags({"from": f"http://me:{secret}@host/x"})
            log.text(f"password {secret}", "x.md")
            raise ValueError(f"no answer from http://me:{secret}@host, {secret}")
    assert said and not [w for w in said if secret in str(w.message)]
    written = [path for path in journal.spool_folder().rglob("*") if path.is_file()]
    assert len(written) > 3
    assert not [path for path in written if secret.encode() in path.read_bytes()]
    proxy.up()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    [done] = deliver_all()
    assert done.left == 0 and secret not in done.line()
    tags = stage("split").data.tags
    assert secret not in json.dumps(tags) and "***" in tags["error"]
    assert [r for r in proxy.requests if b"authorization: basic" in r.lower()]


def wait_until(true, wait_s: float = WAIT_S) -> bool:
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        if true():
            return True
        time.sleep(0.1)
    return False
