"""The gate: what others can write, before it names a file, a program's argument or a query.

Texts that come back from a store, a lock, a table or a network are checked here and nowhere else:
`Shape` for a word of known form, `below` and `inside` for a path, `parsed` for JSON, `quoted` for a
query, `remove` for a folder that is to go. A text that is not what it should be is a GateError,
which names where it stood. ``where`` is always that place, such as ``cry-detector 3: tag x``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from crywatch.core.errors import CrywatchError

LONGEST = 80  # characters that are shown of a refused text
MAX_NAME_BYTES = 255  # of one folder or file, on the usual file systems
NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # the others are bytes that are no UTF-8
# Of Windows; a colon further on is part of a name, such as a time.
DRIVE = re.compile(r"[A-Za-z]:|\\\\|//")
OBJECT = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")  # in DVC's cache

T = TypeVar("T")


class GateError(CrywatchError):
    """A text from outside that is not what it should be; nothing was done with it."""


@dataclass(frozen=True)
class Shape:
    """A kind of word: called with a text, it gives that text back or raises a GateError."""

    what: str
    pattern: re.Pattern[str]

    def __call__(self, text: Any, where: str) -> str:
        if not self.fits(text):
            raise GateError(f"{where}: {_shown(text)} is not {self.what}: it is not used")
        return text

    def fits(self, text: Any) -> bool:
        """Whether it is one."""
        return isinstance(text, str) and self.pattern.fullmatch(text) is not None


SHA256 = Shape("a SHA-256", re.compile("[0-9a-f]{64}"))
DVC_DIGEST = Shape("a digest of DVC", re.compile(r"[0-9a-f]{32}(\.dir)?"))
COMMIT = Shape("the SHA of a commit", re.compile("[0-9a-f]{40}([0-9a-f]{24})?"))
# What a program would take for an option, a path or another file's stage is none.
STAGE = Shape("a stage's name", re.compile(r"\w[^/\\:\x00-\x1f\x7f-\x9f]{0,199}"))
NAME = Shape(
    "a name for a folder",
    re.compile(r"(?![.-])[^/:\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+"),
)
# A part of a reference, as git-check-ref-format has it.
REFERENCE = Shape(
    "a name of git's",
    re.compile(r"(?![.-])(?!.*(\.\.|@\{|\.lock$|\.$))[^\x00-\x20\x7f-\x9f~^:?*\[\\/]+"),
)


def below(text: Any, where: str) -> str:
    """A relative path that does not lead out of its folder by ``..``, as it was."""
    good = isinstance(text, str) and not NO_NAME.search(text)
    parts = PurePosixPath(text).parts if good else ()
    if not parts or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        raise GateError(f"{where}: {_shown(text)} is no name of a file")
    if parts[0].startswith("/") or ".." in parts or DRIVE.match(text):
        raise GateError(f"{where}: {_shown(text)} must lie below its folder")
    return text


def inside(folder: Path, text: Any, where: str) -> Path:
    """The path `below` ``folder``; GateError also where a symlink leads out of it.

    DVC's own links into its cache stay: they stand for files.
    """
    path = folder / below(text, where)
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()) and not OBJECT.search(real.as_posix()):
        raise GateError(f"{where}: {_shown(text)} must lie below its folder: a link leads out")
    return path


def quoted(text: str) -> str:
    """``text`` as a value of one of MLflow's filters, which know no way to escape a quote."""
    for quote in "'\"":
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise GateError(f"{_shown(text)}: MLflow cannot look for what holds both kinds of quotes")


def remove(folder: Path, own: Path) -> None:
    """Remove a folder which lies in ``own``, a folder of the program's, if it is there.

    GateError for any other, a link among them; what cannot be removed is left.
    """
    place, within = folder.parent.resolve() / folder.name, own.resolve()
    if folder.is_symlink() or folder.name in ("", ".", "..") or place.parent != within:
        raise GateError(f"{folder}: not one of the folders in {own}: it is not removed")
    shutil.rmtree(place, ignore_errors=True)


def parsed(kind: type[T] | Any, text: str | bytes, where: str) -> T:
    """JSON as a ``kind`` of `typed`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GateError(f"{where}: not JSON ({error}): it is not used") from error
    return typed(kind, value, where)


def read(kind: type[T] | Any, path: Path) -> T:
    """The JSON file as a ``kind`` of `typed`; OSError where it cannot be read."""
    return parsed(kind, path.read_bytes(), str(path))


def typed(kind: type[T] | Any, value: Any, where: str) -> T:
    """A plain value as a ``kind``: a dataclass, or a type of lists, mappings and plain values.

    A dataclass takes the keys that it has fields for; those with a default may be missing.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _filled(kind, value, where)
    if origin in (Union, types.UnionType):
        errors = []
        for one in inner:
            try:
                return typed(one, value, where)
            except GateError as error:
                errors.append(error)
        raise errors[0]
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(typed(inner[0], one, f"{where}[{at}]") for at, one in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: typed(inner[1], one, f"{where}.{key}") for key, one in value.items()}  # type: ignore[return-value]
    if kind is float and type(value) is int:
        return float(value)  # type: ignore[return-value]
    if origin is None and type(value) is kind:  # a bool is no number
        return value
    name = getattr(origin or kind, "__name__", str(kind))
    raise GateError(f"{where}: {_shown(value)} stands where {name} is expected: it is not used")


def _filled(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise GateError(f"{where}: {_shown(value)} stands where keys and values are expected")
    hints = get_type_hints(kind)
    given = {
        each.name: typed(hints[each.name], value[each.name], f"{where}: {each.name}")
        for each in fields(kind)
        if each.name in value
    }
    try:
        return kind(**given)
    except TypeError as error:  # a field without a default
        raise GateError(f"{where}: {error}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
