"""Where the work of a stage is done: in this process, or on a Ray cluster.

Both give the same bytes, so that section ``engine`` is no parameter of any stage: changing it
repeats nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crywatch.core.errors import ConfigError
from crywatch.detection.engine.base import Engine, EngineConfig, LocalEngine, Work

__all__ = ["LOCAL", "NAMES", "Engine", "EngineConfig", "Work", "open_engine"]

NAMES = ("local", "ray")
LOCAL: Engine = LocalEngine()


@contextmanager
def open_engine(config: EngineConfig) -> Iterator[Engine]:
    """The engine that ``config`` names, connected for as long as it is entered.

    Raises
    ------
    ConfigError
        The name is unknown, or a number is out of range.
    EngineError
        Ray is not installed, or the cluster cannot be reached.
    """
    if config.name == "local":
        yield LOCAL
    elif config.name == "ray":
        from crywatch.detection.engine.cluster import connect

        with connect(config) as engine:
            yield engine
    else:
        raise ConfigError(f"engine.name: {config.name!r} is unknown; there are {', '.join(NAMES)}")
