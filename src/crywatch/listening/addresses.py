"""Addresses of brokers and web hooks, which may hold a password and are never told."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from crywatch.core.errors import ConfigError
from crywatch.core.redact import learn

FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True)
class Address:
    """An address in its parts."""

    text: str = field(repr=False)
    scheme: str
    host: str
    port: int | None
    user: str | None
    password: str | None = field(repr=False)


def address_of(text: str, what: str, schemes: Collection[str]) -> Address:
    """An address, or ``env:VARIABLE`` which holds it; ConfigError names ``what``, not the text."""
    text = from_environment(text, what)
    learn(text)
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError as error:  # its text may hold the address
        message = f"{what}: the address cannot be read: is a bracket or port wrong?"
        raise ConfigError(message) from error
    if scheme not in schemes:
        raise ConfigError(f"{what}: the address is {scheme}://...; there are {', '.join(schemes)}")
    if not host:
        raise ConfigError(f"{what}: the address {scheme}://... names no host")
    user, password = (
        None if value is None else unquote(value) for value in (parts.username, parts.password)
    )
    return Address(text, scheme, host, port, user, password)


def from_environment(text: str, what: str) -> str:
    """``text``, or what the variable holds that it names; ConfigError if that is not set."""
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    variable = text.removeprefix(FROM_ENVIRONMENT)
    if not os.environ.get(variable):
        raise ConfigError(f"{what}: the environment has no {variable}")
    return os.environ[variable]
