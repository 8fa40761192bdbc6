"""What a listener says, as lines of JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TextIO

from crywatch.core.names import json_line
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState


class Lines:
    """A sink that writes to ``out``: states and events, with ``seconds`` each second's score."""

    def __init__(self, out: TextIO, seconds: bool = False):
        self._out, self._seconds = out, seconds

    def sound(self, sound: Sound) -> None:
        """Is heard, and not written."""

    def second(self, second: SecondScore) -> None:
        if self._seconds:
            self._write({"type": "second", **record_of(second)})

    def event(self, event: CryEvent) -> None:
        self._write(event_record(event))

    def state(self, state: SourceState) -> None:
        self._write({"type": "state", **record_of(state)})

    def close(self) -> None:
        """All is written already."""

    def _write(self, record: dict[str, Any]) -> None:
        self._out.write(json_line(record) + "\n")
        self._out.flush()


def event_record(event: CryEvent) -> dict[str, Any]:
    """An event's onset or its end, for JSON."""
    return {"type": "onset" if event.end is None else "end", **record_of(event)}


def record_of(news: CryEvent | SecondScore | SourceState) -> dict[str, Any]:
    """For JSON: times as ISO 8601 in UTC, and nothing that is not known."""
    return {name: _plain(value) for name, value in vars(news).items() if value not in (None, "")}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return round(value, 3) if isinstance(value, float) else value
