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


def uri(config: TrackingConfig) -> str:
    """The store's address."""
    return os.environ.get("MLFLOW_TRACKING_URI") or config.uri


@cache
def open_store() -> Store:
    """The store of the project in the working directory; the experiment is made if needed."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # after the import, which sets them up
        logging.getLogger(name).setLevel(logging.ERROR)
    config = params.section("tracking", TrackingConfig)
    address = uri(config)
    mlflow.set_tracking_uri(address)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        location = None
        if address.startswith("sqlite:"):
            location = Path(config.artifacts).resolve().as_uri()
        try:
            experiment_id = client.create_experiment(config.experiment, location)
        except MlflowException:  # another process was faster
            experiment_id = client.get_experiment_by_name(config.experiment).experiment_id
    else:
        experiment_id = experiment.experiment_id
    return Store(client, experiment_id, address)


def ui(port: int = 5000) -> None:
    """Serve the MLflow UI on 127.0.0.1; returns when it is stopped."""
    config = params.section("tracking", TrackingConfig)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    if uri(config).startswith("sqlite:"):
        command += ["--default-artifact-root", Path(config.artifacts).resolve().as_uri()]
    os.execv(sys.executable, command)
