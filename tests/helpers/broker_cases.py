"""A real broker on this machine, a line that can be cut, and a client that hears all."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from crywatch.listening.addresses import address_of
from crywatch.listening.mqtt import SCHEMES, Broker

WAIT_S = 15.0


def mosquitto() -> str:
    """The program; the test is skipped where there is none."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no mosquitto here: apt-get install mosquitto")
    return program


@contextmanager
def broker(folder: Path, *settings: str, port: int | None = None) -> Iterator[int]:
    """A broker on 127.0.0.1 with more ``settings``; yields its port."""
    program, port = mosquitto(), port or free_port()
    lines = [f"listener {port} 127.0.0.1", "persistence false", "user root"]
    anonymous = not any("password_file" in line for line in settings)
    config = folder / "mosquitto.conf"
    config.write_text("\n".join([*lines, f"allow_anonymous {str(anonymous).lower()}", *settings]))
    with open(folder / "mosquitto.log", "ab") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(port: int) -> bool:
    """Whether something listens there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_for(condition: Callable[[], object]) -> None:
    """Until ``condition`` holds; it is an error if that takes long."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, f"not within {WAIT_S:g} s"
        time.sleep(0.02)


def reached(
    port: int, name: str = "house", user: str = "", scheme: str = "mqtt", **given
) -> Broker:
    """How a listener reaches the broker at ``port``."""
    text = f"{scheme}://{user}{'@' * bool(user)}127.0.0.1:{port}"
    return Broker(address_of(text, "mqtt", SCHEMES), name, **given)


class Subscriber:
    """A client that keeps all that it is sent, in order."""

    def __init__(self, port: int):
        from paho.mqtt import client as mqtt

        self.messages: list[tuple[str, str]] = []
        self.retained: dict[str, str] = {}
        ready = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=2)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _, __, message: self._keep(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(WAIT_S)

    def _keep(self, message) -> None:
        text = message.payload.decode()
        self.messages.append((message.topic, text))
        self.retained[message.topic] = text

    def of(self, topic: str) -> list[str]:
        """What came at ``topic``, in order."""
        return [text for name, text in list(self.messages) if name == topic]

    def records(self, topic: str) -> list[dict]:
        """The same, of JSON."""
        return [json.loads(text) for text in self.of(topic)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Line:
    """A way to ``port`` through another one, which can be cut and mended."""

    def __init__(self, port: int):
        self._to, self._pairs, self._is_cut = port, [], False
        self._flows = threading.Event()
        self._flows.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """All connections end, and new ones do at once."""
        self._is_cut = True
        for one in self._pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """New connections are let through."""
        self._is_cut = False

    def stall(self) -> None:
        """Connections stay, and nothing comes through."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held back comes, and the rest."""
        self._flows.set()

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._server.accept()
                if self._is_cut:
                    here.close()
                    continue
                try:
                    there = socket.create_connection(("127.0.0.1", self._to))
                except OSError:  # nothing is there now
                    here.close()
                    continue
                self._pairs += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
