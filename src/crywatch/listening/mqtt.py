"""Sources and their events at an MQTT broker, and from there in Home Assistant.

Protocol version 5: a session that outlives the connection lets each event be delivered once. Of
two listeners with one name the newer is heard: it leaves its mark, and the other one ends here.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from crywatch.core.names import json_line
from crywatch.listening.addresses import Address
from crywatch.listening.events import CryEvent, SecondScore, Sound, SourceState, State
from crywatch.listening.homeassistant import EXPIRE_S, discovery
from crywatch.listening.lines import event_record
from crywatch.listening.today import CryingToday
from crywatch.listening.topics import OFF, OFFLINE, ON, ONLINE, Topics, of_listener

if TYPE_CHECKING:
    from paho.mqtt.client import Client

SCHEMES = ("mqtt", "mqtts")
PORTS = {"mqtt": 1883, "mqtts": 8883}
SESSION_S = 3600  # that a broker keeps what it has of a listener which is gone
KEEPALIVE_S = 20
CLOSE_S = 3.0  # that what waits has at the end


@dataclass(frozen=True)
class Broker:
    """How a broker is reached, and what it is told."""

    address: Address
    listener: str  # its name: topics and the client's id hold it
    password: str | None = field(default=None, repr=False)  # where the address has none
    ca: str | None = None  # file of the certificates to trust; None: the system's
    base: str = "crywatch"  # of all topics
    discovery: str = "homeassistant"  # prefix; "": none
    waiting: int = 1000  # events that wait for the broker, at most


@dataclass
class _Device:
    """A source as the broker knows it."""

    topics: Topics
    is_heard: bool = False
    event: CryEvent | None = None  # the last one
    today: CryingToday = field(default_factory=CryingToday)
    said: float = float("-inf")  # when its state was published last, by the monotonic clock
    now: datetime | None = None  # of the last second


class Mqtt:
    """A sink; the network is a thread's, and calls of the sink return at once."""

    def __init__(self, broker: Broker, sources: Sequence[str], say: Callable[[str], None]):
        self._broker, self._say = broker, say
        self._devices = {
            source: _Device(Topics(broker.base, broker.listener, source)) for source in sources
        }
        self._mark = secrets.token_hex(4)
        self._lock = threading.RLock()
        self._waiting: deque[tuple[str, str]] = deque(maxlen=broker.waiting)  # topic, JSON
        self._is_connected = self._is_dropping = False
        self._is_known = False  # the broker was reached once,
        self._is_remarked = False  # and once more: its mark is this one's, or of a newer one
        self._has_yielded = False
        self._trouble = ""
        self._client = self._made()
        self._client.loop_start()

    def _made(self) -> Client:
        from paho.mqtt import client as mqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        broker, address = self._broker, self._broker.address
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            f"crywatch-{broker.listener}-{self._mark}",
            protocol=mqtt.MQTTv5,
        )
        client.suppress_exceptions = True  # of what is called below: they would end the thread
        client.will_set(self._listener_status, OFFLINE, qos=1, retain=True)
        if address.user is not None:
            client.username_pw_set(address.user, address.password or broker.password)
        if address.scheme == "mqtts":
            client.tls_set(ca_certs=broker.ca)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail, client.on_message = self._not_connected, self._received
        client.reconnect_delay_set(1, 60)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = SESSION_S
        client.connect_async(
            address.host,
            address.port or PORTS[address.scheme],
            KEEPALIVE_S,
            clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY,
            properties=session,
        )
        return client

    @property
    def _listener_status(self) -> str:
        return of_listener(self._broker.base, self._broker.listener, "status")

    @property
    def _marked(self) -> str:
        return of_listener(self._broker.base, self._broker.listener, "mark")

    # what the listener says

    def sound(self, sound: Sound) -> None:
        """Never leaves this machine."""

    def second(self, second: SecondScore) -> None:
        device = self._devices[second.source]
        device.now = second.at
        if time.monotonic() - device.said >= EXPIRE_S / 3:
            self._publish_state(device)

    def event(self, event: CryEvent) -> None:
        if self._has_yielded:
            return
        device = self._devices[event.source]
        with self._lock:
            device.event = event
            device.today.add(event)
            device.now = max(filter(None, (device.now, event.end, event.onset)))
            if len(self._waiting) == self._waiting.maxlen and not self._is_dropping:
                self._is_dropping = True
                self._say(f"mqtt: {len(self._waiting)} events wait; the oldest are dropped")
            self._waiting.append((device.topics.event, json_line(event_record(event))))
        self._publish_state(device)
        self._send_waiting()

    def state(self, state: SourceState) -> None:
        self._publish_status(self._devices[state.source], state.state is State.LISTENING)

    def close(self) -> None:
        for device in self._devices.values():
            self._publish_status(device, is_heard=False)
        until = time.monotonic() + CLOSE_S
        if self._is_connected:
            last = self._client.publish(self._listener_status, OFFLINE, qos=1, retain=True)
            with suppress(RuntimeError):  # the connection is lost already: its last will tells
                while self._is_connected and not last.is_published() and time.monotonic() < until:
                    time.sleep(0.02)
        if self._waiting:
            self._say(f"mqtt: {len(self._waiting)} events were not delivered")
        self._client.disconnect()
        self._client.loop_stop()

    # what is published

    def _publish(self, topic: str, payload: str) -> None:
        """The newest state; while the broker is gone only that is of interest, at its return."""
        if self._is_connected:
            self._client.publish(topic, payload, qos=1, retain=True)

    def _publish_status(self, device: _Device, is_heard: bool) -> None:
        with self._lock:  # else a connection made meanwhile publishes the one before, after it
            device.is_heard = is_heard
            self._publish(device.topics.status, ONLINE if is_heard else OFFLINE)

    def _publish_state(self, device: _Device) -> None:
        with self._lock:
            self._publish_crying(device)
            if device.now is not None:
                minutes = round(device.today.minutes(device.now), 2)
                record = {"day": device.today.day.isoformat(), "minutes": minutes}
                self._publish(device.topics.minutes, json_line(record))
            device.said = time.monotonic()

    def _publish_crying(self, device: _Device) -> None:
        event = device.event
        if event is not None:
            self._publish(device.topics.attributes, json_line(event_record(event)))
        is_crying = event is not None and event.end is None
        self._publish(device.topics.crying, ON if is_crying else OFF)

    def _send_waiting(self) -> None:
        with self._lock:
            while self._is_connected and self._waiting:
                topic, payload = self._waiting.popleft()
                self._client.publish(topic, payload, qos=2)

    # what the broker says

    def _connected(self, client: Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            self._tell_trouble(f"the broker refuses: {reason}")
            return
        with self._lock:
            if self._trouble:
                self._say("mqtt: connected again")
            self._trouble, self._is_connected, self._is_dropping = "", True, False
            self._is_remarked = self._is_known
            client.subscribe(self._marked, qos=1)
            if not self._is_known:
                self._publish(self._marked, self._mark)
            self._publish(self._listener_status, ONLINE)
            for device in self._devices.values():
                for topic, payload in self._discovery(device).items():
                    self._publish(topic, json.dumps(payload))
                self._publish_status(device, device.is_heard)
                self._publish_crying(device)
                if not self._is_known:  # the next minutes are published after it is answered
                    client.subscribe(device.topics.minutes, qos=1)
                device.said = float("-inf")
            self._is_known = True
        self._send_waiting()

    def _discovery(self, device: _Device) -> dict[str, dict[str, Any]]:
        prefix = self._broker.discovery
        return discovery(prefix, device.topics) if prefix else {}

    def _received(self, client: Client, _: Any, message: Any) -> None:
        if message.topic == self._marked:
            # What lay there before this one's own mark is of one that was.
            if message.payload.decode(errors="replace") != self._mark and (
                not message.retain or self._is_remarked
            ):
                self._yield(client)
            return
        client.unsubscribe(message.topic)
        for device in self._devices.values():
            if device.topics.minutes == message.topic and message.retain:
                self._resume(device, message.payload)

    def _yield(self, client: Client) -> None:
        """Both would say of the same sources what they hear."""
        self._is_connected, self._has_yielded = False, True
        client.disconnect()
        self._say(
            f"mqtt: another listener is named {self._broker.listener}, and the broker hears that "
            "one now: start one of them with another --name"
        )

    def _resume(self, device: _Device, payload: bytes) -> None:
        """What this name had counted today, before this run."""
        try:
            record = json.loads(payload)
            day, minutes = date.fromisoformat(record["day"]), float(record["minutes"])
        except (ValueError, KeyError, TypeError):
            return  # it is somebody else's
        with self._lock:
            device.today.resume(day, minutes, datetime.now().astimezone())

    def _disconnected(self, client: Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        was_connected, self._is_connected = self._is_connected, False
        if was_connected and reason.is_failure:
            self._tell_trouble(f"the connection is lost: {reason}")

    def _not_connected(self, *_: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it has caught it
        self._tell_trouble(str(getattr(error, "strerror", None) or error or "no answer"))

    def _tell_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            self._say(f"mqtt: {reason}; events wait")
