"""Events to a web address, as JSON: they wait while it does not answer, and are sent in order."""

from __future__ import annotations

import base64
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from crywatch.core.names import json_line
from crywatch.core.redact import without_credentials
from crywatch.listening.addresses import Address
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState
from crywatch.listening.lines import event_record

TIMEOUT_S = 10.0  # of a try
BACKOFF_S, MOST_BACKOFF_S = 1.0, 60.0
CLOSE_S = 3.0  # that what waits has at the end
AGAIN = (408, 429)  # statuses below 500 after which the same request may be taken


class Webhook:
    """A sink that posts the onset and the end of each event, ``waiting`` of them at most.

    ``Idempotency-Key`` is one for each, as an answer may be lost. Redirects are not followed.
    """

    def __init__(self, address: Address, say: Callable[[str], None], waiting: int):
        self._address, self._say = without_credentials(address.text), say
        self._headers = {"Content-Type": "application/json", "User-Agent": "crywatch"}
        if address.user is not None:
            pair = f"{address.user}:{address.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._waiting: deque[dict[str, Any]] = deque(maxlen=waiting)
        self._some = threading.Condition()
        self._closing = False
        self._until = float("inf")
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._send_all, name="webhook", daemon=True)
        self._thread.start()

    def sound(self, sound: Sound) -> None:
        """Is not sent."""

    def second(self, second: SecondScore) -> None:
        """Is not sent."""

    def state(self, state: SourceState) -> None:
        """Is not sent."""

    def event(self, event: CryEvent) -> None:
        with self._some:
            if len(self._waiting) == self._waiting.maxlen:
                self._say(f"webhook: {len(self._waiting)} events wait; the oldest is dropped")
            self._waiting.append(event_record(event))
            self._some.notify()

    def close(self) -> None:
        with self._some:
            self._closing, self._until = True, time.monotonic() + CLOSE_S
            self._some.notify()
        self._thread.join(CLOSE_S + 1)
        if self._waiting:
            self._say(f"webhook: {len(self._waiting)} events were not delivered")

    def _send_all(self) -> None:
        wait_s = 0.0
        while True:
            with self._some:
                self._some.wait_for(lambda: self._closing, wait_s)
                self._some.wait_for(lambda: self._closing or self._waiting)
                if not self._waiting or time.monotonic() > self._until:
                    return
                record = self._waiting[0]
            why = self._post(record)
            if not why:
                with self._some:
                    if self._waiting and self._waiting[0] is record:
                        self._waiting.popleft()
                wait_s = 0.0
                continue
            if self._closing:
                return
            if not wait_s:
                self._say(f"webhook: {why}; events wait")
            wait_s = min(MOST_BACKOFF_S, 2 * wait_s or BACKOFF_S)

    def _post(self, record: dict[str, Any]) -> str:
        """Why ``record`` is not delivered; "" if it is, or never will be."""
        request = urllib.request.Request(
            self._address,
            json_line(record).encode(),
            self._headers | {"Idempotency-Key": f"{record['id']}-{record['type']}"},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S):  # the body may be endless
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            why = f"answered {error.code}"
            if error.code >= 500 or error.code in AGAIN:
                return why
            self._say(f"webhook: {why} to an event, which is dropped")
            return ""
        except (OSError, HTTPException, ValueError) as error:  # their texts may hold the address
            reason = getattr(error, "reason", error)
            return getattr(reason, "strerror", None) or type(reason).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """A POST would become a GET without its event, or go to another host."""
