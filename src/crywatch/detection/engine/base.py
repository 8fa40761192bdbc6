"""The contract of an engine: work done to batches, its results in the batches' order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class EngineConfig:
    """Section ``engine``. It says where work is done; what comes out is the same by contract."""

    name: str  # local, ray
    address: str = ""  # ray: of a cluster; "" is RAY_ADDRESS, else a cluster of this machine alone
    cpus: float = 0.0  # ray: of one task; 0 is one for every thread that the libraries compute with
    tasks: int = 0  # ray: at once; 0 is as many as the cluster has CPUs for
    batches: int = 4  # ray: in one task, which is what a node that dies leaves to be repeated
    retries: int = 5  # ray: of a task whose node or process died


class Work(ABC, Generic[Item, Made]):
    """What is done to a batch: a frozen dataclass that can be sent to another machine.

    What is costly to make (a network) is a cached property: it is not sent, and every process makes
    its own once. The result must not depend on which process makes it, or on the batches before.
    """

    @abstractmethod
    def __call__(self, batch: Sequence[Item]) -> Iterable[Made]:
        """What is made of ``batch``; both can be pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore


class Engine(Protocol):
    """Where work is done."""

    def map(self, work: Work[Item, Made], batches: Iterable[Sequence[Item]]) -> Iterator[Made]:
        """All that ``work`` makes of ``batches``, in their order, while it is made.

        The first error that work raises is raised here, after all that comes before it.
        """


class LocalEngine:
    """In this process. Nothing runs ahead: a batch is begun when the one before was taken."""

    def map(self, work: Work[Item, Made], batches: Iterable[Sequence[Item]]) -> Iterator[Made]:
        """As `Engine.map`."""
        for batch in batches:
            yield from work(batch)
