"""Steps of conf/channels.yaml as dataclasses: numbers, fixed or drawn, and words out of a list.

The fields of a step are made by `number`, `word`, `words` and `curve`, which say what may stand
there; `parsed` reads a mapping by them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from crywatch.core.errors import ConfigError

T = TypeVar("T")
_READ = "read"


@dataclass(frozen=True)
class Drawn:
    """A number that is drawn evenly between the two, or is always the same."""

    min: float
    max: float

    def draw(self, rng: np.random.Generator) -> float:
        """A value. Takes from ``rng`` also where there is nothing to draw.

        Fixing one number of a channel so leaves what is drawn for the others.
        """
        return float(rng.uniform(self.min, self.max))


@dataclass(frozen=True)
class Curve:
    """Values at frequencies, linear in the logarithm of the frequency between them."""

    hz: tuple[float, ...]  # rising
    values: tuple[Drawn, ...]


def number(
    low: float = -math.inf,
    high: float = math.inf,
    default: float | None = None,
    open_: bool = False,
) -> Any:
    """A field of class `Drawn` from ``low`` (not itself, if ``open_``) to ``high``."""

    def read(value: Any, key: str) -> Drawn:
        drawn = _drawn(value, key)
        inside = low < drawn.min if open_ else low <= drawn.min
        if not (inside and drawn.max <= high):
            bounds = f"{'more than' if open_ else 'at least'} {low:g}"
            bounds = bounds if math.isfinite(low) else ""
            most = f"at most {high:g}" if math.isfinite(high) else ""
            rule = " and ".join(filter(None, [bounds, most]))
            raise ConfigError(f"{key}: {_shown(drawn)} must be {rule}")
        return drawn

    return _field(read, None if default is None else Drawn(default, default))


def word(choices: tuple[str, ...], default: str | None = None) -> Any:
    """A field of class str: one of ``choices``."""

    def read(value: Any, key: str) -> str:
        if value not in choices:
            raise ConfigError(f"{key} is {value!r}: it is one of {', '.join(choices)}")
        return value

    return _field(read, default)


def words(choices: Callable[[], tuple[str, ...]]) -> Any:
    """A field of class tuple[str, ...]: one or several of ``choices()``."""

    def read(value: Any, key: str) -> tuple[str, ...]:
        options = tuple(value) if isinstance(value, list | tuple) else (value,)
        unknown = [word for word in options if word not in choices()]
        if unknown or not options:
            which = f"{unknown[0]!r}: it" if unknown else "empty: each"
            raise ConfigError(f"{key} is {which} is one of {', '.join(choices())}")
        return options

    return _field(read, None)


def curve() -> Any:
    """A field of class `Curve`: a mapping from Hz to values."""

    def read(value: Any, key: str) -> Curve:
        if not isinstance(value, Mapping) or not value:
            raise ConfigError(f"{key}: {value!r} stands where frequencies and values are expected")
        hz = [_number(point, f"{key}, frequency {point!r}") for point in value]
        if hz[0] <= 0 or any(b <= a for a, b in zip(hz[:-1], hz[1:], strict=True)):
            raise ConfigError(f"{key}: the frequencies must be above 0 and rise, not {hz}")
        drawn = [_drawn(point, f"{key}.{at}") for at, point in value.items()]
        return Curve(tuple(hz), tuple(drawn))

    return _field(read, None)


def parsed(cls: type[T], values: Any, where: str) -> T:
    """``values`` (a mapping; None for all defaults) as an instance of the step ``cls``."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {values!r} stands where keys and values are expected")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            known = f"it has {', '.join(fields)}" if fields else "it has none"
            raise ConfigError(f"{where} has no {key!r}; {known}")
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = field.metadata[_READ](values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{where}.{name} is missing")
    return cls(**arguments)


def _field(read: Callable[[Any, str], Any], default: Any) -> Any:
    missing = dataclasses.MISSING if default is None else default
    return dataclasses.field(default=missing, metadata={_READ: read})


def _drawn(value: Any, key: str) -> Drawn:
    if not isinstance(value, Mapping):
        fixed = _number(value, key)
        return Drawn(fixed, fixed)
    if set(value) != {"min", "max"}:
        raise ConfigError(f"{key}: {dict(value)!r} is neither a number nor {{min: a, max: b}}")
    drawn = Drawn(_number(value["min"], f"{key}.min"), _number(value["max"], f"{key}.max"))
    if drawn.min > drawn.max:
        raise ConfigError(f"{key}: min {drawn.min:g} is above max {drawn.max:g}")
    return drawn


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r} is no number")
    return float(value)


def _shown(drawn: Drawn) -> str:
    return f"{drawn.min:g}" if drawn.min == drawn.max else f"{drawn.min:g} to {drawn.max:g}"
