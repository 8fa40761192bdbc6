"""A project that was moved or copied together with its SQLite store.

MLflow keeps the address of every artifact absolute, of the experiment and of each run, model and
version, and has no call that changes one. Left alone, runs of a copy would be written into the
project that it was copied from, and those of a moved one be looked for where it was.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from crywatch.core.errors import UnreachableError

WAIT_S = 60.0  # for another process that writes
COLUMNS = (  # MLflow's tables, and what holds an address in each
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(database: Path, experiment: str, artifacts: str) -> None:
    """Let an experiment's artifacts go below the address ``artifacts``.

    Earlier ones that lie there by now are found there; the others stay where they were.
    UnreachableError where the database cannot be written.
    """
    try:
        _follow(database, experiment, artifacts)
    except sqlite3.Error as error:
        raise UnreachableError(f"the MLflow store {database} cannot be written: {error}") from error


def _follow(database: Path, experiment: str, artifacts: str) -> None:
    with closing(sqlite3.connect(database, timeout=WAIT_S)) as store, store:
        of_name = "FROM experiments WHERE name = ?"
        row = store.execute(f"SELECT artifact_location {of_name}", (experiment,)).fetchone()
        before = row[0] if row else None
        if not before or before == artifacts:
            return
        store.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = ?", (artifacts, experiment)
        )
        for table, column in COLUMNS:
            for row_id, address in store.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
                if not (address or "").startswith(f"{before}/"):
                    continue
                now = artifacts + address.removeprefix(before)
                if Path(unquote(urlsplit(now).path)).exists():
                    update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
                    store.execute(update, (now, row_id))
