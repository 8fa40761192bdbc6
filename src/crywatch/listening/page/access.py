"""Who may ask the page for anything: nobody from another site, and elsewhere than on loopback only
who has the token.

On loopback there is no login: whoever is at this machine may see the page. A site of somebody
else's that is open in the same browser may not: not by requests of its own (`Sec-Fetch-Site`,
`Origin`), nor under a name that it lets point here (`Host`), nor in a frame of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crywatch.core.errors import ConfigError

TOKEN_ENV = "CRYWATCH_PAGE_TOKEN"
LEAST_TOKEN = 16  # characters
COOKIE = "crywatch"
COOKIE_S = 90 * 86_400
LOGIN = "/api/login"
OPEN = ("/", LOGIN)  # the page itself says nothing
MOST_BODY = 4096  # bytes
WRONG_S = 1.0  # that an answer to a wrong token takes; one at a time
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Address:
    """Where the page is served."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> Address:
    """HOST:PORT, or PORT alone for loopback; ConfigError for anything else."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535 or (":" in host and not text.startswith("[")):
        raise ConfigError(f"--page {text}: name an address such as 127.0.0.1:8550")
    return Address(host, int(port))


def token_for(address: Address, environment: Mapping[str, str] = os.environ) -> str:
    """The token of the environment; "" where none is needed.

    ConfigError where the address is not loopback and there is none, or one that could be guessed.
    """
    token = environment.get(TOKEN_ENV, "").strip()
    if not token and address.is_loopback:
        return ""
    if len(token) < LEAST_TOKEN:
        what = f"has less than {LEAST_TOKEN} characters" if token else "is not set"
        raise ConfigError(
            f"--page {address}: {TOKEN_ENV} {what}, and others could see and hear the page: set it "
            "to a secret such as `openssl rand -hex 16` prints, or name 127.0.0.1"
        )
    return token


class Access:
    """ASGI middleware in front of ``app``; ``policy`` is the page's Content-Security-Policy."""

    def __init__(self, app: ASGIApp, token: str, policy: str):
        self._app, self._token = app, token
        self._headers = HEADERS | {"Content-Security-Policy": policy}
        self._trial = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        headers = Headers(scope=scope)
        refused = self._foreign(scope, headers)
        if refused is None and scope["path"] not in OPEN and not self._is_known(headers):
            if headers.get("authorization"):
                await self._wait()
            refused = JSONResponse({"error": "the token is needed"}, 401)
        if refused is not None:
            await refused(scope, receive, send_closed)
        else:
            await self._app(scope, receive, send_closed)

    async def login(self, token: str) -> tuple[str, str] | None:
        """Name and value of the cookie for who has the token; None, and late, for a wrong one."""
        if self._token and hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return COOKIE, self._cookie
        await self._wait()
        return None

    @property
    def _cookie(self) -> str:
        """What a browser keeps: another token makes it worthless, and it tells none."""
        return hmac.new(self._token.encode(), b"crywatch page", hashlib.sha256).hexdigest()

    async def _wait(self) -> None:
        async with self._trial:
            await asyncio.sleep(WRONG_S)

    def _is_known(self, headers: Headers) -> bool:
        if not self._token:
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(token.strip().encode(), self._token.encode())
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        return morsel is not None and hmac.compare_digest(
            morsel.value.encode(), self._cookie.encode()
        )

    def _foreign(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        """An answer to what does not come from the page itself; None where it does."""
        host = headers.get("host", "")
        if not self._token and not _is_loopback(host):
            return JSONResponse({"error": "this page is for 127.0.0.1 and localhost alone"}, 403)
        site = headers.get("sec-fetch-site", "none")
        is_link = scope["method"] == "GET" and scope["path"] == "/"
        if site not in ("none", "same-origin") and not is_link:
            return JSONResponse({"error": "not from another site"}, 403)
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return JSONResponse({"error": "not from another site"}, 403)
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "JSON is expected"}, 415)
        size = headers.get("content-length", "")
        if not size.isdecimal() or int(size) > MOST_BODY:
            return JSONResponse({"error": f"at most {MOST_BODY} bytes, with their length"}, 413)
        return None


def _is_loopback(host: str) -> bool:
    """Of a Host header."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return Address(name.strip("[]"), 0).is_loopback
