"""MLflow's pages on this machine: served by a process of its own, and told once they answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from crywatch.core import params
from crywatch.core.errors import CrywatchError
from crywatch.tracking import views
from crywatch.tracking.store import SQLITE, TrackingConfig, artifacts, open_store, uri

HOST = "127.0.0.1"
# A browser's name for this machine (RFC 6761). Under localhost and 127.0.0.1 MLflow opens an
# assistant over a third of each first page, and has no switch for it; under another name it does
# not. MLflow takes no other hosts than it is told.
NAME = "crywatch.localhost"
HOSTS = f"{NAME}:*,localhost:*,{HOST}:*"
POLL_S, ANSWER_S, END_S = 0.25, 10.0, 10.0
# MLflow's four workers and its runners of jobs take two cores for a minute, and a health check ends
# a worker that is not up by then. The environment wins.
MODEST = {"MLFLOW_WORKERS": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def ui(port: int = 5000) -> None:
    """Serve the MLflow UI on 127.0.0.1; returns when it is stopped.

    CrywatchError where the port is taken, or the server ends before it answers.
    """
    config = params.section("tracking", TrackingConfig)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri(config)]
    command += ["--host", HOST, "--port", str(port)]
    command += ["--uvicorn-opts", "--log-level warning"]  # a line a request hides the address
    command += ["--allowed-hosts", HOSTS, "--cors-allowed-origins", f"http://{NAME}:{port}"]
    if uri(config).startswith(SQLITE):
        command += ["--default-artifact-root", artifacts(config)]
    store = open_store()
    view = views.save(store, config.columns)
    page = f"http://{NAME}:{port}/#/experiments/{store.experiment_id}/runs"
    serve(command, port, f"{page}?workflowType=machine_learning&viewStateShareKey={view}")


def serve(command: Sequence[str], port: int, page: str) -> None:
    """Run a server, print the address of its ``page`` when it answers, and wait for its end."""
    _must_be_free(port)
    process = subprocess.Popen(command, env=MODEST | dict(os.environ))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        while not _answers(port):
            if process.poll() is not None:
                code = process.returncode
                raise CrywatchError(f"MLflow's pages ended with code {code} before they answered")
            time.sleep(POLL_S)
        print(f"crywatch: {page}", flush=True)
        process.wait()
    except KeyboardInterrupt:  # which the server gets too
        pass
    finally:
        _end(process)
        signal.signal(signal.SIGTERM, before)


def _must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended
        try:
            probe.bind((HOST, port))
        except OSError as error:
            told = (
                f"port {port} of this machine is taken ({error.strerror}): name another by --port"
            )
            raise CrywatchError(told) from error


def _answers(port: int) -> bool:
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(HOST, port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stop(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
