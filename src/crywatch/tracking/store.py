"""Where runs are kept: MLflow's client on the store that params.yaml or the environment names.

Also which of its errors mean that it is gone, and which only that one thing could not be logged.
"""

from __future__ import annotations

import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import gate, params, paths
from crywatch.core.errors import CrywatchError, UnreachableError
from crywatch.core.lock import FileLock
from crywatch.core.redact import learn, redacted, without_credentials
from crywatch.tracking import moved

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

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
DELETED = "deleted"  # of an experiment's stages
SQLITE = "sqlite:///"
FOLDER = paths.WORK / "tracking"  # in the project that keeps the store: locks and what waits for it
LOCK_WAIT_S = 10.0
CREATE_WAIT_S = 120.0  # MLflow's tables take seconds to make, and more on a busy machine
COPIES = (".dvc", "tmp")  # where DVC's experiments and `worktree` copy a project to
PAGE = 500  # runs of one request

LONGEST = 300  # characters that are shown of an error
# OSErrors of a file that a stage wanted to log; all others (disk full, no connection) will recur.
OF_ONE_FILE = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
# HTTP statuses of a request that may be let in later: no password yet, too much at once.
REFUSED = (401, 403, 408, 429)
SERVER_ERROR = 500
NO_ANSWER = "API request to"  # how MLflow begins when what answered was not MLflow, or nobody did


@dataclass(frozen=True)
class TrackingConfig:
    """Section ``tracking``."""

    uri: str  # of the store; MLFLOW_TRACKING_URI in the environment wins
    artifacts: str  # folder, for a local store
    experiment: str
    wait_s: float = 30.0  # that `crywatch repro` waits at its end for what was not sent yet
    linger_s: float = 10.0  # that the sender waits for another stage before it ends
    columns: tuple[str, ...] = ()  # metrics that `views` show of a rebuild


@dataclass(frozen=True)
class Store:
    """A client and the experiment it logs to."""

    client: MlflowClient
    experiment_id: str
    uri: str = field(repr=False)  # may hold a password

    def runs(self, condition: str, oldest_first: bool = False, page: int = PAGE) -> Iterator[Run]:
        """Runs of the experiment under a condition of MLflow's (`tagged`), the latest first.

        ``page`` are fetched by a request.
        """
        order, token = "ASC" if oldest_first else "DESC", None
        while True:
            answer = self.client.search_runs(
                [self.experiment_id],
                condition,
                order_by=[f"attributes.start_time {order}"],
                max_results=page,
                page_token=token,
            )
            yield from answer
            token = answer.token
            if not token:
                return

    def run(self, run_id: str) -> Run | None:
        """A run by its id; None where the store does not have it."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id) if run_id else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None


def tagged(name: str, value: str) -> str:
    """The condition that a run has a tag with this value; GateError where it has both quotes."""
    return f"tags.`{name}` = {gate.quoted(value)}"


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


@contextmanager
def alone(lock: str = "parent.lock", wait_s: float | None = None) -> Iterator[None]:
    """Stages of the project and its copies take turns; one that hangs is not waited for longer."""
    taken = FileLock(home() / FOLDER / lock)
    with suppress(OSError):  # a read-only project: nobody else works there either
        taken.path.parent.mkdir(parents=True, exist_ok=True)
        taken.take(LOCK_WAIT_S if wait_s is None else wait_s)
    try:
        yield
    finally:
        taken.free()


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
    """The same of any store; UnreachableError where its experiment was deleted."""
    import mlflow  # noqa: F401 - sets the loggers up, before they are made quiet
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    be_quiet_and_quick()
    # Two processes that make the tables of one SQLite store at once break each other's migration.
    local = where.uri.startswith(SQLITE)
    with alone("create.lock", CREATE_WAIT_S) if local else nullcontext():
        client = MlflowClient(where.uri)
        experiment = client.get_experiment_by_name(where.experiment)
        if experiment and where.artifacts and experiment.artifact_location != where.artifacts:
            database = Path(where.uri.removeprefix(SQLITE).partition("?")[0])
            moved.follow(database, where.experiment, where.artifacts)
    if experiment is None:
        try:
            new_id = client.create_experiment(where.experiment, where.artifacts, KIND)
            return Store(client, new_id, where.uri)
        except MlflowException:  # another process was faster
            experiment = client.get_experiment_by_name(where.experiment)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == DELETED:
        raise UnreachableError(
            f"experiment {where.experiment!r} of the MLflow store was deleted: "
            f"`MLFLOW_TRACKING_URI={shlex.quote(where.address)} mlflow experiments restore -x "
            f"{experiment.experiment_id}` brings it back with its runs; or name another one by "
            "tracking.experiment"
        )
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
        *_, cause = _causes(error)  # what the driver said, without what was wrapped around it
        line = next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:LONGEST]
        text = f"the MLflow store {address()} cannot be reached: {line}"
        raise UnreachableError(redacted(text)) from error


class StoreWarning(UserWarning):
    """What the store did not take; no reason to stop a stage."""


def warn(text: str) -> None:
    """Warn of what the store did not take, in one line."""
    warnings.warn(f"MLflow store: {text}", StoreWarning, stacklevel=2)


def _format(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
    if issubclass(category, StoreWarning):  # where in the code it was noticed helps nobody
        return f"crywatch: {message}\n"
    return _python_format(message, category, *place, **more)


_python_format, warnings.formatwarning = warnings.formatwarning, _format


def store_is_lost(error: BaseException) -> bool:
    """Whether later calls would fail like this one: no connection, or no database."""
    return any(_is_loss(cause) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from: MLflow wraps what its drivers raise."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_loss(error: BaseException) -> bool:
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException, RestException

    status: int | None = None
    if isinstance(error, RestException):
        status = error.get_http_status_code()
    elif isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    if status is not None:
        return status in REFUSED or status >= SERVER_ERROR
    if isinstance(error, MlflowException) and str(error).startswith(NO_ANSWER):
        return True
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        refused_value = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)
        return not isinstance(error, refused_value)
    return isinstance(error, OSError) and not isinstance(error, OF_ONE_FILE)


def reason(error: BaseException) -> str:
    """What an error says, on one line and without credentials."""
    text = " ".join(redacted(str(error)).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
