"""Section ``listen`` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from crywatch.core import params
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.project import root
from crywatch.listening.clips.recorder import ClipsConfig

LEAST_S, MOST_S = 0.5, 1.0  # of `ListenConfig.lookahead_s`


@dataclass
class ListenConfig:
    """How a listener hears, and how long it waits."""

    lookahead_s: float = 0.75  # of sound after a second that its score may wait for
    stall_s: float = 5.0  # without sound: the source has stalled
    connect_s: float = 20.0  # that opening a source may take
    backoff_s: float = 1.0  # before a source is opened again; doubles each time,
    most_backoff_s: float = 60.0  # up to this
    memory_mib: int = 512  # that the decoder of a source may take
    look_s: float = 60.0  # between looks whether the model is another one
    history_days: float = 30.0  # of levels and events, kept for the page
    clips: ClipsConfig = field(default_factory=ClipsConfig)
    waiting_events: int = 1000  # that wait for a broker or a web hook which is gone, at most
    mqtt_base: str = "crywatch"  # of all topics
    mqtt_discovery: str = "homeassistant"  # prefix of Home Assistant's discovery; "": none

    @classmethod
    def here(cls) -> ListenConfig:
        """Of the project around here; without a project as they stand."""
        try:
            folder = root()
        except CrywatchError:
            return cls()
        config = params.section("listen", cls, folder / params.PARAMS_FILE)
        config.check()
        return config

    def check(self) -> None:
        """ConfigError, naming the key, for what cannot be."""
        if not LEAST_S <= self.lookahead_s <= MOST_S:
            raise ConfigError(
                f"listen.lookahead_s is {self.lookahead_s:g}: a recording's last second needs at "
                f"least {LEAST_S:g}, and a decision may come {MOST_S:g} s late"
            )
        for key in (
            "stall_s",
            "connect_s",
            "backoff_s",
            "most_backoff_s",
            "memory_mib",
            "look_s",
            "history_days",
            "waiting_events",
        ):
            if getattr(self, key) <= 0:
                raise ConfigError(f"listen.{key} is {getattr(self, key):g}: set it above 0")
