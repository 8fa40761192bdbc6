"""The page's server in a thread beside the listener."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn

from crywatch.core.errors import CrywatchError
from crywatch.listening.page.access import Address, token_for
from crywatch.listening.page.app import Page, build

STARTS_S = 10.0  # at most
CONNECTIONS = 100  # at once


class PageServer:
    """Serves ``page`` at ``address`` until `close`.

    ConfigError where others could see it (`access.token_for`); CrywatchError where the address is
    not to be had.
    """

    def __init__(self, page: Page, address: Address):
        token = token_for(address)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            self._socket = socket.create_server((address.host, address.port), family=family)
        except OSError as error:
            raise CrywatchError(f"--page {address}: {error.strerror or error}") from error
        self.address = Address(address.host, self._socket.getsockname()[1])
        config = uvicorn.Config(
            build(page, token),
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=[[self._socket]], name="page", daemon=True
        )
        self._thread.start()
        until_s = time.monotonic() + STARTS_S
        while not self._server.started and time.monotonic() < until_s:
            time.sleep(0.01)

    def close(self) -> None:
        """Let open pages go."""
        self._server.should_exit = True
        self._thread.join(5.0)
        self._socket.close()
