"""A real MLflow server, and a proxy before it that can be slowed, cut and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

START_S = 240.0
CHUNK = 1 << 16
HEAD_END = b"\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """The port of a server on a SQLite file of its own, which keeps artifacts itself."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--host", "127.0.0.1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
        )
        try:
            wait_for(port, server, folder / "server.log")
            yield port
        finally:
            os.killpg(server.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 9)


def wait_for(port: int, server: subprocess.Popen, log: Path) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20).close()
            return
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


class Proxy:
    """Forwards TCP connections to a port of this machine, a request a connection at a time."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0  # before each request is passed on
        # Whether a request, by its first line, is passed on and its answer lost.
        self.loses: Callable[[bytes], bool] = lambda line: False
        self.requests: list[bytes] = []  # their first lines and headers
        self.lost = 0
        self._target = target
        self._listening: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and break those that there are."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        for one in list(self._open):
            _break(one)

    def reset(self) -> None:
        self.delay_s, self.loses, self.lost = 0.0, lambda line: False, 0
        self.requests.clear()
        self.up()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with contextlib.suppress(OSError), client:
            while request := _message(client):
                self.requests.append(request.partition(HEAD_END)[0])
                time.sleep(self.delay_s)
                with socket.create_connection(("127.0.0.1", self._target)) as server:
                    server.sendall(_closing(request))
                    answer = b""
                    while data := server.recv(CHUNK):
                        answer += data
                if self.loses(request.partition(b"\r\n")[0]):
                    self.lost += 1
                    _break(client)
                    break
                client.sendall(answer)
                break
        self._open.discard(client)


def _message(client: socket.socket) -> bytes:
    """A whole request."""
    data = b""
    while HEAD_END not in data:
        more = client.recv(CHUNK)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(HEAD_END)
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    if b"transfer-encoding: chunked" in head.lower():
        while not data.endswith(b"0\r\n\r\n"):
            data += client.recv(CHUNK)
        return data
    while len(body) < (lengths[0] if lengths else 0):
        more = client.recv(CHUNK)
        body, data = body + more, data + more
        if not more:
            return b""
    return data


def _closing(request: bytes) -> bytes:
    """The request, asking the server to close the connection after its answer."""
    head, _, body = request.partition(HEAD_END)
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close"]) + HEAD_END + body


def _break(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    client.close()
