"""What Home Assistant is told of a source, so that it shows it as a device by itself.

See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.
"""

from __future__ import annotations

from typing import Any

from crywatch import __version__
from crywatch.listening.topics import ONLINE, Topics

EXPIRE_S = 90  # a state that is not said again within it is not known any more


def discovery(prefix: str, topics: Topics) -> dict[str, dict[str, Any]]:
    """Topics to what is published there, retained: a cry as a binary sensor, its minutes today."""
    name = f"crywatch_{topics.listener}_{topics.source}"
    common = {
        "availability": [{"topic": topic} for topic in (topics.listener_status, topics.status)],
        "availability_mode": "all",
        "payload_available": ONLINE,
        "device": {
            "identifiers": [name],
            "name": topics.source,
            "manufacturer": "crywatch",
            "model": "infant cry detector",
            "sw_version": __version__,
        },
        "origin": {"name": "crywatch", "sw_version": __version__},
    }
    crying = {
        "name": "Crying",
        "unique_id": f"{name}_crying",
        "device_class": "sound",
        "state_topic": topics.crying,
        "json_attributes_topic": topics.attributes,
        "expire_after": EXPIRE_S,
    }
    minutes = {
        "name": "Crying today",
        "unique_id": f"{name}_minutes_today",
        "device_class": "duration",
        "unit_of_measurement": "min",
        "state_class": "total_increasing",
        "suggested_display_precision": 1,
        "state_topic": topics.minutes,
        "value_template": "{{ value_json.minutes }}",
        "icon": "mdi:baby-face-outline",
    }
    return {
        f"{prefix}/binary_sensor/{name}/crying/config": common | crying,
        f"{prefix}/sensor/{name}/minutes_today/config": common | minutes,
    }
