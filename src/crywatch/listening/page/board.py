"""The sink that knows how the sources are now, and tells open pages of every change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from crywatch.core.redact import redacted
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState

WAITING = 200  # messages of a page that does not take them; then it is let go, and comes again


@dataclass
class SourceNow:
    """A source as it is now; times are seconds since 1970, UTC."""

    name: str
    state: str
    since: float  # of the state
    reason: str = ""
    level_dbfs: float | None = None  # of the last second; None while none comes
    cry: float | None = None
    at: float | None = None  # of that second
    event: str = ""  # id of a cry that goes on
    onset: float | None = None  # of it


@dataclass(frozen=True)
class Message:
    """News for a page: ``kind`` is source (the whole `SourceNow`) or event (an id)."""

    kind: str
    data: Any


class Board:
    """Called from the threads that listen, read from the page's own."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceNow] = {}
        self._pages: dict[asyncio.Queue[Message | None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._closed = False

    def sound(self, sound: Sound) -> None:
        """Nothing of it is shown."""

    def second(self, second: SecondScore) -> None:
        """Its level and score."""
        self._change(
            second.source,
            level_dbfs=second.level_dbfs,
            cry=second.cry,
            at=second.at.timestamp(),
        )

    def event(self, event: CryEvent) -> None:
        """A cry begins or ends."""
        goes_on = event.end is None
        onset = event.onset.timestamp()
        self._change(
            event.source, event=event.id if goes_on else "", onset=onset if goes_on else None
        )

    def state(self, state: SourceState) -> None:
        """As long as it is not heard a source has no level."""
        self._change(
            state.source,
            state=state.state.value,
            since=state.at.timestamp(),
            reason=redacted(state.reason),
            level_dbfs=None,
            cry=None,
        )

    def close(self) -> None:
        """Let all pages go."""
        with self._lock:
            self._closed = True
        self._send(None)

    def changed(self, event_id: str) -> None:
        """What is known of an event is new."""
        self._send(Message("event", event_id))

    def sources(self) -> list[dict[str, Any]]:
        """All as they are now, by name."""
        with self._lock:
            return [asdict(self._sources[name]) for name in sorted(self._sources)]

    async def news(self) -> AsyncIterator[Message]:
        """What changes from now on, until the listener ends or the page does not follow."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(WAITING)
        with self._lock:
            if self._closed:
                return
            self._pages[queue] = asyncio.get_running_loop()
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._pages.pop(queue, None)

    def _change(self, source: str, **changes: Any) -> None:
        with self._lock:
            now = self._sources.setdefault(source, SourceNow(source, "connecting", 0.0))
            for name, value in changes.items():
                setattr(now, name, value)
            told = asdict(now)
        self._send(Message("source", told))

    def _send(self, message: Message | None) -> None:
        for queue, loop in list(self._pages.items()):
            try:
                loop.call_soon_threadsafe(self._put, queue, message)
            except RuntimeError:  # its loop is closed
                self._pages.pop(queue, None)

    def _put(self, queue: asyncio.Queue[Message | None], message: Message | None) -> None:
        if message is None or queue.full():
            self._pages.pop(queue, None)
            while not queue.empty():
                queue.get_nowait()
            message = None
        queue.put_nowait(message)
