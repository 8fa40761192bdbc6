"""Where runs are kept: MLflow's client on the store that params.yaml or the environment names."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from crywatch.core import params
from crywatch.core.errors import CrywatchError, UnreachableError
from crywatch.core.redact import learn, redacted, without_credentials
from crywatch.tracking.failure import LONGEST, store_is_lost

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# A server that does not answer may cost the end of a stage one of these, and not MLflow's four
# minutes. MLflow would repeat a request whose answer was lost, and make a run twice: the spool
# looks first.
REQUEST_TIMEOUT_S = 8
REQUEST_RETRIES = 0

# The UI shows such an experiment with the columns and charts of model training.
KIND = {"mlflow.experimentKind": "custom_model_development"}
SQLITE = "sqlite:///"
COPIES = (".dvc", "tmp")  # where DVC's experiments and `worktree` copy a project to


@dataclass(frozen=True)
class TrackingConfig:
    """Section ``tracking``."""

    uri: str  # of the store; MLFLOW_TRACKING_URI in the environment wins
    artifacts: str  # folder, for a local store
    experiment: str
    wait_s: float = 30.0  # that the end of a stage waits for what the store has not got yet


@dataclass(frozen=True)
class Store:
    """A client and the experiment it logs to."""

    client: object  # mlflow.tracking.MlflowClient
    experiment_id: str
    uri: str = field(repr=False)  # may hold a password


@dataclass(frozen=True)
class Target:
    """Where runs are to go."""

    uri: str = field(repr=False)  # may hold a password
    experiment: str
    artifacts: str | None  # folder as an address, where the store itself does not know one

    @property
    def address(self) -> str:
        """The store as it may be written down."""
        return without_credentials(self.uri)


def home() -> Path:
    """The project that keeps the store: the working directory, or for DVC's copy its original."""
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-len(COPIES) :] == COPIES:
            return folder.parents[len(COPIES) - 1]
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


def be_quiet_and_quick(timeout_s: int | None = None) -> None:
    """Failures are told once, by the run that met them; the environment wins over the limits."""
    for name, level in (
        ("mlflow", logging.ERROR),
        ("mlflow.store.db.utils", logging.CRITICAL),  # logs a traceback before it raises
        ("alembic", logging.ERROR),
        ("urllib3.connectionpool", logging.ERROR),
    ):
        logging.getLogger(name).setLevel(level)
    # With a server MLflow prints its address, which may hold a password, at the end of each run.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout_s or REQUEST_TIMEOUT_S))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(REQUEST_RETRIES))


def target(config: TrackingConfig) -> Target:
    """Where the project's runs go."""
    address = uri(config)
    learn(address)
    local = artifacts(config) if address.startswith(SQLITE) else None
    return Target(address, config.experiment, local)


@cache
def open_store() -> Store:
    """The store of the project in the working directory; the experiment is made if needed."""
    import mlflow

    where = target(params.section("tracking", TrackingConfig))
    mlflow.set_tracking_uri(where.uri)
    return open_at(where)


def open_at(where: Target) -> Store:
    """The same of any store."""
    import mlflow  # noqa: F401 - sets the loggers up, before they are made quiet
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    be_quiet_and_quick()
    client = MlflowClient(where.uri)
    experiment = client.get_experiment_by_name(where.experiment)
    if experiment is None:
        try:
            made_id = client.create_experiment(where.experiment, where.artifacts, KIND)
        except MlflowException:  # another process was faster
            made = client.get_experiment_by_name(where.experiment)
            if made is None:
                raise
            made_id = made.experiment_id
        return Store(client, made_id, where.uri)
    return Store(client, experiment.experiment_id, where.uri)


def address() -> str:
    """Of the project's store, as it may be written down."""
    return without_credentials(uri(params.section("tracking", TrackingConfig)))


@contextmanager
def reached() -> Iterator[None]:
    """Errors of a store that is gone become an UnreachableError of one line."""
    try:
        yield
    except CrywatchError:
        raise
    except Exception as error:  # whatever the store or its driver raises
        if not store_is_lost(error):
            raise
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper  # what the driver said, without what was wrapped around it
        said = next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:LONGEST]
        told = f"the MLflow store {address()} cannot be reached: {said}"
        raise UnreachableError(redacted(told)) from error


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
