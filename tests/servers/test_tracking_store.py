"""Where the store is, and stores that fail."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pandas as pd
import pytest

from crywatch import tracking
from crywatch.core.errors import CrywatchError
from crywatch.tracking import journal, pages, parent, store, views
from crywatch.tracking.store import StoreWarning, store_is_lost
from tests.helpers.tracking_cases import (
    artifacts,
    caught_up,
    sending,
    sent,
    stage,
    stored,
    troubled,
)

pytest_plugins = ["tests.helpers.tracking_fixtures"]

LATER = "stages go on, and their records are sent later"


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


def test_two_processes_may_make_the_store_at_once(project):
    (project / "mlflow.db").unlink()
    code = "from crywatch.tracking.store import open_store; print(open_store().experiment_id)"
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert {out for out, _ in outputs} == {f"{store.open_store().experiment_id}\n"}


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
        ("p/.dvc/tmp/worktrees/x", "p"),
        ("p/tmp/x", "p/tmp/x"),
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
    monkeypatch.setattr(pages, "serve", lambda *given: ran.append(given))
    tracking.ui(port=5001)
    [(command, port, page)] = ran
    assert port == 5001 and page.startswith("http://crywatch.localhost:5001/#/experiments/")
    assert f"viewStateShareKey={views.save(store.open_store(), ())}" in page
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--backend-store-uri"] == f"sqlite:///{project}/mlflow.db"
    assert (options["--host"], options["--port"]) == ("127.0.0.1", "5001")
    assert "crywatch.localhost:*" in options["--allowed-hosts"].split(",")
    assert options["--default-artifact-root"] == (project / "mlartifacts").as_uri()


SLOW = """
import http.server, os, sys, time
print("began", os.environ["MLFLOW_WORKERS"], flush=True)
time.sleep(0.5)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked", flush=True)
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
SERVE = """
import sys
from crywatch.tracking import pages
pages.serve([sys.executable, "-c", sys.argv[1], sys.argv[2]], int(sys.argv[2]), "the page")
"""


def a_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_the_address_of_the_ui_is_told_when_it_answers_and_it_ends_with_the_command():
    port = str(a_port())
    command = [sys.executable, "-c", SERVE, SLOW, port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline().strip() for _ in range(3)]
        assert lines == ["began 1", "asked", "crywatch: the page"]
        with pytest.raises(CrywatchError, match=f"port {port} of this machine is taken"):
            pages.serve(["false"], int(port), "the page")
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    pages._must_be_free(int(port))


def test_a_ui_that_ends_before_it_answers_is_an_error(capfd):
    with pytest.raises(CrywatchError, match="ended with code 3 before they answered"):
        pages.serve([sys.executable, "-c", "raise SystemExit(3)"], a_port(), "the page")
    assert "the page" not in capfd.readouterr().out


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


def test_a_dead_server_does_not_stop_a_stage_and_is_said_once(project, monkeypatch):
    use_store(monkeypatch, "http://127.0.0.1:9")
    done = 0
    with warnings.catch_warnings(record=True) as said, sending():
        warnings.simplefilter("always")
        for name in ("split", "clean"):
            with tracking.stage_run(name) as log:
                everything(log)
                done += 1
                assert done > 1 or troubled()
    assert done == 2
    mine = [str(w.message) for w in said if LATER in str(w.message)]
    assert len(mine) == 1 and "\n" not in mine[0]


def test_a_store_that_dies_on_the_way_does_not_stop_a_stage_and_gets_all_of_it(
    project, monkeypatch
):
    with warnings.catch_warnings(record=True) as said, monkeypatch.context() as broken:
        warnings.simplefilter("always")
        with sending(), tracking.stage_run("split") as log:
            log.metrics({"a": 1.0})
            assert caught_up()

            def refuse(*args, **kwargs):
                raise OSError("disk full")

            client = type(store.open_store().client)
            for name in ("log_batch", "log_artifact", "log_inputs", "set_terminated"):
                broken.setattr(client, name, refuse)
            everything(log)
            assert troubled()
    mine = [str(w.message) for w in said if LATER in str(w.message)]
    assert mine == [f"MLflow store: disk full; {LATER}"]
    [left] = stored(**{parent.STAGE: "split"})
    assert left.info.status == "RUNNING"
    run = stage("split")
    assert (run.info.status, run.data.metrics["b"], run.data.tags["c"]) == ("FINISHED", 1.0, "d")
    assert artifacts(run) == {"x.md", "tables", "figures", "params.yaml"}
    assert len(run.inputs.dataset_inputs) == 1
    assert journal.journals() == []


def test_an_error_of_the_stage_is_raised_with_a_dead_store_too(project, monkeypatch):
    use_store(monkeypatch, "http://127.0.0.1:9")
    with sending(), pytest.raises(KeyError), tracking.stage_run("split"):
        raise KeyError("clip_id")


def test_a_lock_that_cannot_be_read_does_not_stop_a_stage_or_its_run(project):
    Path("dvc.lock").write_text("<<<<<<< HEAD\nstages: {\n")
    with pytest.warns(UserWarning), tracking.stage_run("split") as log:
        log.metrics({"a": 1.0})
    assert stage("split").data.metrics["a"] == 1
    assert stage("split").data.params["seed"] == "3"


def test_what_a_store_does_not_take_is_said_in_a_line_and_other_warnings_as_ever():
    where = ("stage.py", 7, "    code()")
    assert warnings.formatwarning("it is gone", StoreWarning, *where) == "crywatch: it is gone\n"
    said = warnings.formatwarning("old", DeprecationWarning, *where)
    assert said == "stage.py:7: DeprecationWarning: old\n  code()\n"


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
        assert sent()
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
        answer("REQUEST_LIMIT_EXCEEDED"),
        MlflowException("API request to endpoint /x failed with error code 404 != 200"),
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
        with sending():
            started = time.monotonic()
            with tracking.stage_run("split") as log:
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
