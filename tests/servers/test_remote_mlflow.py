"""A team's tracking server: MLflow behind basic auth, on PostgreSQL and S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import requests
import torch
import yaml

from crywatch.core import models
from crywatch.detection.blazenet.network import BlazeNet
from tests.helpers import postgres_cases
from tests.helpers.blazenet_cases import ONE_SECOND
from tests.helpers.dvc_cases import crywatch, environment
from tests.helpers.postgres_cases import Postgres, free_port
from tests.helpers.remote_cases import BUCKET, S3, SECRET_KEY
from tests.helpers.tracking_cases import PARAMS

pytest_plugins = ["tests.helpers.remote_fixtures"]
pytest.importorskip("psycopg2", reason="needs psycopg2: pip install 'crywatch[remote]'")
pytest.importorskip("flask_wtf", reason="needs mlflow[auth]: pip install 'crywatch[remote]'")
pytestmark = pytest.mark.nightly

ADMIN, ADMIN_PASSWORD = "admin", "planted-password-of-the-admin"
USER, USER_PASSWORD = "nightly", "planted-password-of-the-user"
PASSWORDS = (ADMIN_PASSWORD, USER_PASSWORD, SECRET_KEY, postgres_cases.PASSWORD)
START_S = 300.0  # on a busy machine; 20 on an idle one

# All that a stage says, and a model at its end.
STAGE = """
from matplotlib.figure import Figure
from crywatch import tracking
with tracking.stage_run("split") as log:
    log.metrics({"clips": 7})
    for step in range(3):
        log.metrics({"loss": 1.0 / (step + 1)}, step=step)
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    log.figure(figure, "roc.png")
    log.artifact("params.yaml", "inputs")
    log.tags({"note": "crying"})
    log.model("model", "network")
print("the stage did its work")
"""
SHORT = """
from crywatch import tracking
with tracking.stage_run("clean") as log:
    log.metrics({"clips": 7})
"""


@dataclass(frozen=True)
class Server:
    """A tracking server, and what it said so far."""

    address: str
    log: Path
    postgres: Postgres
    s3: S3

    def environment(self, user: str = USER, password: str = USER_PASSWORD) -> dict[str, str]:
        """What a user of the team exports."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
            # A busy machine in a test, not a team's server.
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        }


@pytest.fixture(scope="session")
def server(tmp_path_factory, s3):
    """PostgreSQL, S3 and the server before them; a user who is not the admin."""
    folder = tmp_path_factory.mktemp("mlflow server")
    config = folder / "auth.ini"
    with postgres_cases.running("runs", "users") as postgres:
        config.write_text(
            "[mlflow]\ndefault_permission = EDIT\n"
            f"database_uri = {postgres.uri('users')}\nadmin_username = {ADMIN}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            # Else every request hashes the password anew; a model is hundreds of them.
            "auth_cache_ttl_seconds = 60\n"
        )
        config.chmod(0o600)
        address, log = f"http://127.0.0.1:{free_port()}", folder / "server.log"
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
        command += ["--artifacts-destination", f"s3://{BUCKET}/mlflow", "--workers", "1"]
        own = {
            # On the command line every user of the machine could read it.
            "MLFLOW_BACKEND_STORE_URI": postgres.uri("runs"),
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "planted-flask-secret",
            "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(**s3.environment, **own),
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _await(process, address, log)
            made = requests.post(
                f"{address}/api/2.0/mlflow/users/create",
                json={"username": USER, "password": USER_PASSWORD},
                auth=(ADMIN, ADMIN_PASSWORD),
                timeout=30,
            )
            assert made.status_code == 200, made.text
            yield Server(address, log, postgres, s3)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: subprocess.Popen, address: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with parameters and a tiny detector."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    torch.manual_seed(0)
    weights = {f"backbone.{k}": v for k, v in BlazeNet().state_dict().items()}
    said = {"kind": "blazenet", "name": "all_1s", "segment_s": 1.0, "corpora": ["esc50"]}
    said["frontend"] = asdict(ONE_SECOND)
    models.save(folder / "network", models.ModelFolder(said, weights))
    return folder


def run_stage(project: Path, env: dict[str, str], code: str = STAGE) -> str:
    """A stage that must end well; all that it said."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def deliver(project: Path, env: dict[str, str]) -> str:
    """What `crywatch deliver` says, with nothing left."""
    return crywatch(project, "deliver", **env).stdout


@pytest.fixture(scope="module")
def recorded(server, project) -> str:
    """What a stage said that the server took; a busy one may not be done when the stage is."""
    return run_stage(project, server.environment()) + deliver(project, server.environment())


def test_a_stage_is_recorded_in_postgresql_and_s3(server, recorded):
    assert "was not logged" not in recorded and "the stage did its work" in recorded
    ask = server.postgres.ask
    [(run_id, status)] = ask("runs", "select run_uuid, status from runs where name = 'split'")
    assert status == "FINISHED"
    told = dict(ask("runs", f"select key, value from latest_metrics where run_uuid = '{run_id}'"))
    assert told["clips"] == 7 and told["loss"] == pytest.approx(1 / 3)
    steps = f"select step from metrics where key = 'loss' and run_uuid = '{run_id}' order by 1"
    assert [step for (step,) in ask("runs", steps)] == [0, 1, 2]
    params = dict(ask("runs", f"select key, value from params where run_uuid = '{run_id}'"))
    assert params["near.window_s"] == "2.0"
    keys = server.s3.keys("mlflow/")
    assert sum(f"{run_id}/artifacts/" in key for key in keys) >= 2
    for name in ("figures/roc.png", "inputs/params.yaml"):
        assert any(key.endswith(f"{run_id}/artifacts/{name}") for key in keys), name
    assert any(key.endswith("MLmodel") for key in keys)
    parents = ask("runs", "select status from runs where name like 'manual%'")
    assert parents == [("FINISHED",)]


def test_a_model_is_registered_and_comes_back_from_s3(server, recorded, project, monkeypatch):
    import mlflow
    import numpy as np
    from mlflow.tracking import MlflowClient

    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(server.address)
    experiment = client.get_experiment_by_name(PARAMS["tracking"]["experiment"])
    [model] = client.search_logged_models([experiment.experiment_id])
    client.create_registered_model("cry-detector")
    version = client.create_model_version(
        "cry-detector", model.model_uri, model.source_run_id, model_id=model.model_id
    )
    client.set_registered_model_alias("cry-detector", "champion", version.version)
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(server.address)
    try:
        loaded = mlflow.pyfunc.load_model("models:/cry-detector@champion")
        scores = loaded.predict(np.zeros((2, 16_000), dtype=np.float32))
    finally:
        mlflow.set_tracking_uri(None)
    assert np.asarray(scores).shape == (2,)


@pytest.mark.parametrize(
    ("user", "password"), [(USER, "planted-but-wrong-password"), ("", "")], ids=["wrong", "none"]
)
def test_who_is_refused_goes_on_and_is_told_why(server, recorded, project, user, password):
    env = server.environment(user, password)
    if not user:
        del env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"]
    said = run_stage(project, env, STAGE.replace('    log.model("model", "network")\n', ""))
    assert "the stage did its work" in said
    said += crywatch(project, "deliver", check=False, **env).stdout
    assert "error code 401" in said
    assert said.count("crywatch: MLflow store: ") <= 1, said
    assert "Traceback" not in said and not (password and password in said)
    [(count,)] = server.postgres.ask("runs", "select count(*) from runs where name = 'split'")
    assert count == 1


def test_what_a_refused_stage_said_is_delivered_with_the_right_password(server, recorded, project):
    ask = server.postgres.ask
    env = server.environment()
    run_stage(project, env | {"MLFLOW_TRACKING_PASSWORD": "wrong"}, SHORT)
    said = deliver(project, env)
    assert "records to" in said and "left" not in said
    assert ask("runs", "select status from runs where name = 'clean'") == [("FINISHED",)]
    assert deliver(project, env).strip() == "nothing to deliver"


def test_no_password_is_told_or_kept_anywhere(server, recorded, project):
    kept = server.log.read_text() + recorded
    for table in ("runs", "tags", "params", "experiments", "experiment_tags"):
        kept += str(server.postgres.ask("runs", f"select * from {table}"))
    client = server.s3.client()
    for key in server.s3.keys("mlflow/"):
        kept += client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode(errors="ignore")
    for path in project.rglob("*"):
        kept += path.read_text(errors="ignore") if path.is_file() else ""
    for password in PASSWORDS:
        assert password not in kept, f"{password} is told"
    users = str(server.postgres.ask("users", "select * from users"))
    assert USER in users and USER_PASSWORD not in users, "it is kept as a hash"
