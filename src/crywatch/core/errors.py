"""Errors a user can act on: the message names the file, row or key and says what to do."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

# What a disk says that is full, over its quota or read-only; and of a file that is another's.
REFUSED_WRITES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
OF_STORAGE = (*REFUSED_WRITES, errno.EACCES, errno.EPERM)


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


class EngineError(CrywatchError):
    """What work is to be done with is not installed, not reached, or gave up."""


class RegistryError(CrywatchError):
    """A registered model that is not there, or is not what was registered."""


class UnreachableError(RegistryError):
    """The tracking store that holds the registry does not answer."""


class StoreError(CrywatchError):
    """The store of the user's infants: an id it does not have, or a state it cannot be in."""


def is_of_storage(error: BaseException) -> bool:
    """Whether a file cannot be written or read for a reason that is not the program's."""
    return isinstance(error, OSError) and error.errno in OF_STORAGE


def named(entries: Mapping[str, T], name: str, key: str) -> T:
    """The entry of parameter ``key`` of that name; ConfigError, naming all, if there is none."""
    if name not in entries:
        raise ConfigError(f"{key} has no {name!r}; there are {', '.join(entries)}")
    return entries[name]
