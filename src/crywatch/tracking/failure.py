"""Which errors mean that the store is gone, and which only that one thing could not be logged."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from crywatch.core.redact import redacted

LONGEST = 300  # characters that are told of an error
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


class StoreWarning(UserWarning):
    """What the store did not take; no reason to stop a stage."""


def warn(said: str) -> None:
    """One line."""
    warnings.warn(f"MLflow store: {said}", StoreWarning, stacklevel=2)


def _line(message: Any, category: type[Warning], *where: Any) -> str:
    if issubclass(category, StoreWarning):  # where in the code it was noticed helps nobody
        return f"crywatch: {message}\n"
    return _as_python_does(message, category, *where)


_as_python_does, warnings.formatwarning = warnings.formatwarning, _line


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

    if isinstance(error, RestException):
        status = error.get_http_status_code()
        return status in REFUSED or status >= SERVER_ERROR
    if isinstance(error, MlflowException) and str(error).startswith(NO_ANSWER):
        return True
    if isinstance(error, requests.HTTPError):
        response = error.response
        return response is None or (
            response.status_code in REFUSED or response.status_code >= SERVER_ERROR
        )
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        refused_value = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)
        return not isinstance(error, refused_value)
    return isinstance(error, OSError) and not isinstance(error, OF_ONE_FILE)


def reason(error: BaseException) -> str:
    """What an error says, on one line and without credentials."""
    said = " ".join(redacted(str(error)).split()) or type(error).__name__
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
