"""BlazeNet's training data: rows of the feature store, in memory or streamed from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, SequentialSampler

from crywatch.data.features import FeatureStore
from crywatch.detection.blazenet.frontend import FRAMES

S = TypeVar("S", list[int], np.ndarray)


@dataclass(frozen=True)
class SegmentRef:
    """One segment of a clip and its label."""

    clip_id: str
    index: int  # of the segment in the clip
    is_cry: bool


class SegmentDataset(Dataset):
    """Batches of pictures [n, bands, 64] float32 and labels [n] int64, by row numbers.

    Where the pictures fit into ``cache_bytes`` they are held in memory (half precision, as stored);
    otherwise each batch is read from the memory-mapped files. Both give the same batches.
    """

    def __init__(self, store: FeatureStore, segments: list[SegmentRef], cache_bytes: int):
        self.store = store
        self.labels = torch.tensor([segment.is_cry for segment in segments], dtype=torch.int64)
        where = [store.rows(segment.clip_id) for segment in segments]
        self._corpora = sorted({rows.corpus for rows in where})
        number = {corpus: index for index, corpus in enumerate(self._corpora)}
        self._corpus = np.array([number[rows.corpus] for rows in where])
        self._row = np.array(
            [rows.first + segment.index for rows, segment in zip(where, segments, strict=True)]
        )
        width = np.dtype(store.info.dtype).itemsize * store.info.dim
        self.cached = len(segments) * width <= cache_bytes
        self._cache = self._read(np.arange(len(segments))) if self.cached else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once."""
        rows = np.asarray(indices)
        pictures = self._cache[rows] if self._cache is not None else self._read(rows)
        batch = torch.from_numpy(pictures).to(torch.float32)
        return batch.reshape(len(rows), -1, FRAMES), self.labels[rows]

    def _read(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.store.info.dim), dtype=self.store.info.dtype)
        for number, corpus in enumerate(self._corpora):
            places = np.flatnonzero(self._corpus[rows] == number)
            if len(places):
                # In file order: one pass over the disk instead of a walk.
                places = places[np.argsort(self._row[rows[places]], kind="stable")]
                out[places] = self.store.array(corpus)[self._row[rows[places]]]
        return out


class EpochSampler(Sampler[int]):
    """A permutation by seed and epoch alone, so that a resumed training sees the same batches."""

    def __init__(self, n: int, seed: int):
        self.n, self.seed, self.epoch = n, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, self.epoch]).permutation(self.n).tolist()


@dataclass(frozen=True)
class Process:
    """One of the processes that share a training."""

    rank: int = 0
    of: int = 1


class SharedBatches(Sampler[list[int]]):
    """This process's part of every batch: the parts of all make up the batch of one alone.

    The last batch may have fewer rows than there are processes. Those without one are given its
    first row, as there is no gradient of nothing; they have to leave it out of the loss.
    """

    def __init__(
        self, rows: EpochSampler | SequentialSampler, size: int, place: Callable[[], Process]
    ):
        self.sampler, self.size = rows, size  # Lightning looks for the first by this name
        self._place = place  # known only when the training has begun

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.sampler)
        for start in range(0, len(rows), self.size):
            yield self.part(rows[start : start + self.size])

    def part(self, batch: S) -> S:
        """This process's rows of a whole ``batch`` of anything."""
        place = self._place()
        return batch[place.rank :: place.of] if place.rank < len(batch) else batch[:1]

    def rows(self, index: int) -> int:
        """Of the whole batch ``index``."""
        return min(self.size, len(self.sampler) - index * self.size)

    @property
    def of(self) -> int:
        """Processes that share the batches."""
        return self._place().of

    def share(self, index: int) -> float:
        """What a sum over the part of batch ``index`` counts in the mean over its rows.

        Times the number of processes, as gradients are the mean of theirs; 0 without own rows.
        """
        place, rows = self._place(), self.rows(index)
        return place.of / rows if place.rank < rows else 0.0


def whole_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Collate function: `SegmentDataset.__getitems__` has made the batch already."""
    return batch
