"""The topics of a source at a broker."""

from __future__ import annotations

from dataclasses import dataclass

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"


def of_listener(base: str, listener: str, what: str) -> str:
    """A topic of the listener itself."""
    return f"{base}/{listener}/{what}"


@dataclass(frozen=True)
class Topics:
    """``BASE/LISTENER/SOURCE/...``; all but `event` are retained."""

    base: str
    listener: str
    source: str

    @property
    def listener_status(self) -> str:
        """`ONLINE`, and by last will `OFFLINE`."""
        return of_listener(self.base, self.listener, "status")

    @property
    def status(self) -> str:
        """Whether the source is heard."""
        return self._of("status")

    @property
    def crying(self) -> str:
        """`ON` or `OFF`."""
        return self._of("crying")

    @property
    def attributes(self) -> str:
        """JSON of the last event."""
        return self._of("attributes")

    @property
    def event(self) -> str:
        """JSON of each event, at its onset and its end."""
        return self._of("event")

    @property
    def minutes(self) -> str:
        """JSON: ``minutes`` of crying on ``day``."""
        return self._of("minutes_today")

    def _of(self, what: str) -> str:
        return of_listener(self.base, self.listener, f"{self.source}/{what}")
