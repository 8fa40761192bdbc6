"""Which errors mean that the store is gone, and which only that one thing could not be logged."""

from __future__ import annotations

from collections.abc import Iterator

# OSErrors of a file that a stage wanted to log; all others (disk full, no connection) will recur.
OF_ONE_FILE = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
REFUSED = (401, 403)  # HTTP statuses that every later request would get too
SERVER_ERROR = 500


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
    from mlflow.exceptions import RestException

    if isinstance(error, RestException):
        status = error.get_http_status_code()
        return status in REFUSED or status >= SERVER_ERROR
    if isinstance(error, requests.HTTPError):
        response = error.response
        return response is None or response.status_code >= SERVER_ERROR
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        refused_value = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)
        return not isinstance(error, refused_value)
    return isinstance(error, OSError) and not isinstance(error, OF_ONE_FILE)
