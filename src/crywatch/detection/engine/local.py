"""Work in this process, batch after batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crywatch.detection.engine.base import Item, Made, Work


class LocalEngine:
    """Nothing runs ahead: a batch is begun when the one before was taken."""

    def map(self, work: Work[Item, Made], batches: Iterable[Sequence[Item]]) -> Iterator[Made]:
        """As `Engine.map`."""
        for batch in batches:
            yield from work(batch)
