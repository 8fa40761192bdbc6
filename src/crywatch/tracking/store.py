"""Where runs are kept: MLflow's client on the store that params.yaml or the environment names."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crywatch import params

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# A server that does not answer may cost a stage two of these, and not MLflow's four minutes.
REQUEST_TIMEOUT_S = 4
REQUEST_RETRIES = 1

# The UI shows such an experiment with the columns and charts of model training.
KIND = {"mlflow.experimentKind": "custom_model_development"}
SQLITE = "sqlite:///"
EXPERIMENTS = (".dvc", "tmp", "exps")  # where `dvc exp run --temp` and its queue copy a project to


@dataclass(frozen=True)
class TrackingConfig:
    """Section ``tracking``."""

    uri: str  # of the store; MLFLOW_TRACKING_URI in the environment wins
    artifacts: str  # folder, for a local store
    experiment: str


@dataclass(frozen=True)
class Store:
    """A client and the experiment it logs to."""

    client: object  # mlflow.tracking.MlflowClient
    experiment_id: str
    uri: str


def home() -> Path:
    """The project that keeps the store: the working directory, or for DVC's copy its original."""
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-len(EXPERIMENTS) :] == EXPERIMENTS:
            return folder.parents[len(EXPERIMENTS) - 1]
    return here


def uri(config: TrackingConfig) -> str:
    """The store's address; that of a SQLite file is absolute."""
    address = os.environ.get("MLFLOW_TRACKING_URI") or config.uri
    if address.startswith(SQLITE):
        return f"{SQLITE}{home() / address.removeprefix(SQLITE)}"
    return address


def artifacts(config: TrackingConfig) -> str:
    """The folder for artifacts of a local store, as an address."""
    return (home() / config.artifacts).resolve().as_uri()


def _be_quiet_and_quick() -> None:
    """Failures are told once, by the run that met them; the environment wins over the limits."""
    for name, level in (
        ("mlflow", logging.ERROR),
        ("mlflow.store.db.utils", logging.CRITICAL),  # logs a traceback before it raises
        ("alembic", logging.ERROR),
        ("urllib3.connectionpool", logging.ERROR),
    ):
        logging.getLogger(name).setLevel(level)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_TIMEOUT_S))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(REQUEST_RETRIES))


@cache
def open_store() -> Store:
    """The store of the project in the working directory; the experiment is made if needed."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    _be_quiet_and_quick()  # after the import, which sets the loggers up
    config = params.section("tracking", TrackingConfig)
    address = uri(config)
    mlflow.set_tracking_uri(address)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        location = artifacts(config) if address.startswith(SQLITE) else None
        try:
            experiment_id = client.create_experiment(config.experiment, location, KIND)
        except MlflowException:  # another process was faster
            made = client.get_experiment_by_name(config.experiment)
            if made is None:
                raise
            experiment_id = made.experiment_id
    else:
        experiment_id = experiment.experiment_id
    return Store(client, experiment_id, address)


def ui(port: int = 5000) -> None:
    """Serve the MLflow UI on 127.0.0.1; returns when it is stopped."""
    config = params.section("tracking", TrackingConfig)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if uri(config).startswith("sqlite:"):
        command += ["--default-artifact-root", artifacts(config)]
    page = f"http://127.0.0.1:{port}/#/experiments/{open_store().experiment_id}/runs"
    print(f"crywatch: {page}?workflowType=machine_learning", flush=True)
    os.execv(sys.executable, command)
