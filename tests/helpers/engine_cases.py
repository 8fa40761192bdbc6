"""Works for the tests of engines; the processes of a Ray cluster import them from here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crywatch.core.errors import AudioError
from crywatch.data.features import ClipFeatures
from crywatch.detection.anomaly.mine import MinedClip, Mining
from crywatch.detection.embedders.embed import ClipFile, Embedding
from crywatch.detection.engine import Work

SLOW_S = 0.25
NOTES = "CRYWATCH_TEST_NOTES"  # folder that the works below note their batches in


def note(first: str) -> None:
    """That this process begins the batch whose first item is ``first``."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    name = f"{time.time_ns()} {os.getpid()} {node} {first.replace('/', '_')}"
    (Path(os.environ[NOTES]) / name).touch()


@dataclass(frozen=True)
class Note:
    """What `note` left."""

    pid: int
    node: str
    first: str


def notes(folder: Path) -> list[Note]:
    """In the order of time."""
    parts = [path.name.split(" ") for path in sorted(folder.iterdir())]
    return [Note(int(pid), node, first) for _, pid, node, first in parts]


class SlowEmbedding(Embedding):
    """The stage's, on a slower machine."""

    def __call__(self, batch: Sequence[ClipFile]) -> Iterator[ClipFeatures]:
        note(batch[0].clip_id)
        time.sleep(SLOW_S)
        yield from super().__call__(batch)


class SlowMining(Mining):
    """The stage's, on a slower machine."""

    def __call__(self, batch: Sequence[str]) -> Iterator[MinedClip]:
        note(batch[0])
        time.sleep(SLOW_S)
        yield from super().__call__(batch)


@dataclass(frozen=True)
class Doubling(Work[int, int]):
    """Twice each number; ``bad`` is an error, and ``deadly`` ends the process."""

    bad: int = -1
    deadly: int = -1

    @cached_property
    def table(self) -> dict[int, int]:
        """Costly: it is not sent."""
        return {number: 2 * number for number in range(1000)}

    def __call__(self, batch: Sequence[int]) -> Iterator[int]:
        for number in batch:
            if number == self.deadly:
                os._exit(1)
            if number == self.bad:
                raise AudioError(f"{number} cannot be doubled")
            yield self.table[number]
