"""A real PostgreSQL server for tests, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "postgres"  # whoever root becomes: the server refuses to be root's
WHERE = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
PASSWORD = "planted-password-of-postgres"


@dataclass(frozen=True)
class Postgres:
    """A server with an empty database a name."""

    port: int
    programs: Path

    def uri(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg2://crywatch:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, query: str) -> list[tuple]:
        """Rows of a query."""
        import psycopg2

        address = self.uri(database).replace("+psycopg2", "")
        with psycopg2.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def programs() -> Path:
    """The folder with initdb, of the newest version; skips where there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [folder for where in WHERE for folder in sorted(Path("/").glob(where[1:]))]
    folders = [folder for folder in folders if (folder / "initdb").is_file()]
    if not folders:
        pytest.skip("no PostgreSQL server (initdb) on this machine: see tests/README.md")
    return folders[-1]


@contextmanager
def running(*databases: str) -> Iterator[Postgres]:
    """A server on a free port, with these databases, in a folder that goes with the block."""
    server = Postgres(free_port(), programs())
    # Not in pytest's folders: those are closed to the user that root has to become.
    with tempfile.TemporaryDirectory(prefix="crywatch-postgres-") as temp:
        folder = Path(temp)
        data, log, secret = folder / "data", folder / "log", folder / "password"
        data.mkdir(mode=0o700)
        log.touch()
        secret.write_text(PASSWORD)
        become = _become([folder, data, log, secret]) if os.geteuid() == 0 else []
        run = [*become, str(server.programs / "initdb"), "--pgdata", str(data)]
        run += ["--username", "crywatch", "--pwfile", str(secret), "--auth", "scram-sha-256"]
        _call([*run, "--no-sync", "--encoding", "UTF8", "--locale", "C"])
        # No socket of Unix: the only way in is the port, with the password.
        options = f"-p {server.port} -h 127.0.0.1 -c unix_socket_directories= -c fsync=off"
        ctl = [*become, str(server.programs / "pg_ctl"), "--pgdata", str(data)]
        start = ["start", "--wait", "--timeout", "120", "--options", options, "--log", str(log)]
        _call([*ctl, *start])
        try:
            for database in databases:
                _create(server, database)
            yield server
        finally:
            _call([*ctl, "stop", "--mode", "immediate"])


def _become(owned: list[Path]) -> list[str]:
    """How root starts a program as somebody else, whom these are given to."""
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be another")
    import pwd

    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        user = pwd.getpwnam("nobody")
    for path in owned:
        os.chown(path, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _create(server: Postgres, database: str) -> None:
    import psycopg2

    connection = psycopg2.connect(server.uri("postgres").replace("+psycopg2", ""))
    connection.autocommit = True  # a database is not made in a transaction
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{database}"')
    connection.close()


def _call(command: list[str]) -> None:
    # Files, not pipes: the server inherits them, and would keep a pipe open.
    done = subprocess.run(
        command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None
    )
    assert done.returncode == 0, command
