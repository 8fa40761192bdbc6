"""What must not be told: secrets of the environment, in whatever text they turn up.

A variable is a secret by its name (`SECRET_NAME`), and so is the password of an address in any
variable. Texts that go to logs, the tracking store or a page pass `redacted`; parameters that hold
a secret are refused (`found_in`), because params.yaml is tracked by git.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from json import dumps
from typing import Any
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
SECRET_NAME = re.compile(
    r"(token|passwor[dt]|passwd|secret|credential|webhook|(api|access|private|secret)_?key)", re.I
)
# Names of what says where a secret is, and is none.
WHERE = re.compile(r"(_env|_file|_name|_id)$", re.I)
# A user and a password, or a token alone, before the host of an address.
USERINFO = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s/?#@'\"<>]+)@", re.I)
READ = re.compile(r"\$\{\s*(oc\.)?(env|decode)\b", re.I)  # interpolations that read the environment
LEAST = 6  # characters; shorter values stand in any text by chance
LEAST_IN_PARAMETERS = 12  # which must not be refused for a password that is a word


_learnt: set[str] = set()  # that stand in no variable of the environment


def learn(address: str) -> None:
    """Keep the password in an address in mind."""
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return
    _learnt.update(_spelt({password}))


def secrets(environment: Mapping[str, str] | None = None) -> Sequence[str]:
    """Values that must not be told, the longest first, also as addresses and code spell them."""
    environment = os.environ if environment is None else environment
    known = {*_of(tuple(environment.items())), *_learnt}
    return sorted(known, key=lambda value: (-len(value), value))


@lru_cache(maxsize=8)  # it is asked for at every record, and hardly ever changes
def _of(environment: tuple[tuple[str, str], ...]) -> frozenset[str]:
    found = set()
    for name, value in environment:
        if SECRET_NAME.search(name) and not WHERE.search(name):
            found.add(value.strip())
        for match in USERINFO.finditer(value):
            user, colon, password = match["user"].partition(":")
            found.add(password if colon else user)  # a token stands alone
    return frozenset(_spelt(found))


def _spelt(values: set[str]) -> set[str]:
    found = values | {unquote(value) for value in values}
    for spell in (lambda v: quote(v, safe=""), lambda v: repr(v)[1:-1], lambda v: dumps(v)[1:-1]):
        found |= {spell(value) for value in found}
    return {value for value in found if len(value) >= LEAST}


def redacted(text: str, known: Sequence[str] | None = None) -> str:
    """``text`` with `HIDDEN` in place of secrets and of what stands before an address's host.

    ``known`` are `secrets`, where they are asked for once for many texts.
    """
    for value in secrets() if known is None else known:
        text = text.replace(value, HIDDEN)
    return USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)


def redacted_in(value: Any) -> Any:
    """The same of every text in lists and mappings."""
    known = secrets()

    def inside(one: Any) -> Any:
        if isinstance(one, str):
            return redacted(one, known)
        if isinstance(one, dict):
            return {redacted(str(key), known): inside(inner) for key, inner in one.items()}
        if isinstance(one, list | tuple):
            return [inside(inner) for inner in one]
        return one

    return inside(value)


def without_credentials(address: str) -> str:
    """An address that may be written down, and still be reached where no password is asked."""
    return USERINFO.sub(r"\g<scheme>", address)


def found_in(values: Any, name: str = "") -> Iterator[str]:
    """What is secret in parameters: the keys, each with a reason, without the value.

    ``values`` are plain containers, interpolations not resolved where they are still there.
    """
    known = [value for value in secrets() if len(value) >= LEAST_IN_PARAMETERS]
    for key, value in _leaves(values, name):
        if READ.search(value):
            yield f"{key} reads the environment, whose value would be written into it"
        elif any(one in value for one in known):
            yield f"{key} holds a secret of the environment"
        elif any(":" in match["user"] for match in USERINFO.finditer(value)):
            yield f"{key} holds an address with a password"
        else:
            last = key.rpartition(".")[2]
            if value and SECRET_NAME.search(last) and not WHERE.search(last):
                yield f"{key} holds a secret, by its name"


def _leaves(values: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, (list, tuple)):
        for number, value in enumerate(values):
            yield from _leaves(value, f"{name}[{number}]")
    elif isinstance(values, str):
        yield name, values


def guard_tracebacks() -> None:
    """From here on, what ends this process is told without secrets."""

    def tell(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, ModuleNotFoundError):
            from crywatch.core.extras import advice

            error.add_note(advice(error) or "")
        said = "".join(traceback.format_exception(kind, error, trace))
        print(redacted(said), file=sys.stderr, end="")

    sys.excepthook = tell
