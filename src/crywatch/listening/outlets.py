"""Where events go besides standard output, as the command line and the environment say."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crywatch.core.errors import ConfigError
from crywatch.listening.addresses import address_of
from crywatch.listening.config import ListenConfig
from crywatch.listening.events import Sink
from crywatch.listening.sources import NAME, Source

PASSWORD = "CRYWATCH_MQTT_PASSWORD"  # variable of the environment
WEB = ("http", "https")


@dataclass(frozen=True)
class Outlets:
    """What is named there; "" is not wanted."""

    name: str = ""  # of the listener; "": of this machine
    mqtt: str = ""  # address of a broker
    mqtt_ca: str = ""  # file of the authority that it is trusted by; "": the system's
    webhook: str = ""  # address

    def sinks(
        self, sources: Sequence[Source], config: ListenConfig, say: Callable[[str], None]
    ) -> list[Sink]:
        """A sink for each; ConfigError for an address that cannot be."""
        sinks: list[Sink] = []
        if self.mqtt:
            from crywatch.listening.mqtt import SCHEMES, Broker, Mqtt

            broker = Broker(
                address_of(self.mqtt, "--mqtt", SCHEMES),
                self.listener,
                os.environ.get(PASSWORD),
                self.mqtt_ca or None,
                config.mqtt_base,
                config.mqtt_discovery,
                config.waiting_events,
            )
            sinks.append(Mqtt(broker, [source.name for source in sources], say))
        if self.webhook:
            from crywatch.listening.webhook import Webhook

            address = address_of(self.webhook, "--webhook", WEB)
            sinks.append(Webhook(address, say, config.waiting_events))
        return sinks

    @property
    def listener(self) -> str:
        """The listener's name as topics have it."""
        if self.name and not NAME.fullmatch(self.name):
            raise ConfigError(f"--name {self.name!r}: letters, digits, - and _ make a name")
        host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().partition(".")[0])
        return self.name or host.strip("-_") or "listener"
