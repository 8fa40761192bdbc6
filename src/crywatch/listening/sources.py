"""What can be listened to, and how it is named: ``[NAME=]SOURCE``.

A file, ``-`` (standard input), ``mic`` or ``mic:DEVICE``, an address of RTSP or HTTP, or
``env:VARIABLE``, a variable of the environment that holds such an address with its password.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from crywatch.core.errors import ConfigError
from crywatch.listening.addresses import address_of, from_environment

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_NAMED = re.compile(rf"(?P<name>{NAME.pattern})=(?P<place>.+)", re.DOTALL)
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
STREAMS = ("rtsp", "rtsps", "http", "https")  # schemes


class Kind(StrEnum):
    """Of a source."""

    FILE = "file"
    INPUT = "input"  # standard input
    MICROPHONE = "microphone"
    STREAM = "stream"


@dataclass(frozen=True)
class Source:
    """Where sound comes from."""

    name: str
    kind: Kind
    place: str  # path, device or address; an address may hold a password and is never told

    @property
    def is_live(self) -> bool:
        """Whether what is not heard now is lost, and a source that ends is opened again."""
        return self.kind in (Kind.MICROPHONE, Kind.STREAM)


def parse_sources(specs: Sequence[str]) -> tuple[Source, ...]:
    """All of a command line; ConfigError where two have one name, or two are standard input."""
    sources = tuple(parse(spec) for spec in specs)
    names = [source.name.lower() for source in sources]
    for source in sources:
        if names.count(source.name.lower()) > 1:
            raise ConfigError(
                f"two sources are named {source.name}: name them, such as nursery=SOURCE"
            )
    if sum(source.kind is Kind.INPUT for source in sources) > 1:
        raise ConfigError("standard input (-) is one source")
    return sources


def parse(spec: str) -> Source:
    """``[NAME=]SOURCE``; without a name it is the file's, the address's host, or the device's."""
    matched = _NAMED.fullmatch(spec)
    name, place = (matched["name"], matched["place"]) if matched else ("", spec)
    if matched and Path(spec).is_file():  # a file whose name has the sign
        name, place = "", spec
    place = from_environment(place, f"source {spec}")
    if place == "-":
        return Source(name or "input", Kind.INPUT, "")
    if place == "mic" or place.startswith("mic:"):
        device = place.removeprefix("mic").removeprefix(":")
        return Source(name or _plain(device) or "microphone", Kind.MICROPHONE, device)
    if "://" in place:
        return _stream(name, place)
    if not place:
        raise ConfigError("a source has no place: name a file, -, mic, or an address")
    return Source(name or _plain(Path(place).stem) or "file", Kind.FILE, place)


def _stream(name: str, text: str) -> Source:
    address = address_of(text, f"source {name}".strip(), STREAMS)
    return Source(name or _plain(address.host), Kind.STREAM, text)


def _plain(name: str) -> str:
    """``name`` with what a topic, a file and a page can all hold."""
    return _NO_NAME.sub("-", name).strip("-_")[:63]
