"""Errors a user can act on: the message names the file, row or key and says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class CrywatchError(Exception):
    """Base of all errors that bad input, configuration or a broken environment causes."""


class ConfigError(CrywatchError):
    """A parameter is missing, unknown or out of range; the message names the key."""


class AudioError(CrywatchError):
    """A file that cannot be decoded or holds nothing usable; the message names the file."""


class DownloadError(CrywatchError):
    """A corpus cannot be fetched or its files fail their checksum."""


class ArchiveError(CrywatchError):
    """An archive that must not be unpacked (absolute paths, ``..``, links out, bombs)."""


class CorpusError(CrywatchError):
    """A corpus folder that is not in the publisher's layout."""


class TableError(CrywatchError):
    """A table between stages that breaks its schema; the message names column and row."""


class ModelError(CrywatchError):
    """A model folder that is missing, incomplete or of an unknown kind."""


class StoreError(CrywatchError):
    """The store of the user's infants: an id it does not have, or a state it cannot be in."""


def named(entries: Mapping[str, T], name: str, key: str) -> T:
    """The entry of parameter ``key`` of that name; ConfigError, naming all, if there is none."""
    if name not in entries:
        raise ConfigError(f"{key} has no {name!r}; there are {', '.join(entries)}")
    return entries[name]
