"""Which clips of AudioSet are worth fetching: cries, what is confused with them, and others.

A clip's place in the draw is a digest of the seed and its id, so that a selection depends neither
on the order of the rows nor on which other rows there are; only the chosen rows are kept.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError, CorpusError
from crywatch.corpora.shared import audioset_tables as tables
from crywatch.corpora.shared.audioset_tables import SEGMENTS, Segment, read_segments
from crywatch.corpora.shared.base import CorpusConfig
from crywatch.corpora.shared.rows import read_rows

FILE = "selection.csv"
COLUMNS = ("segment_id", "part", "class", "kind", "mid", "ytid", "start_s", "end_s", "mids")
CRY, AMBIGUOUS, CONFUSER, OTHER = KINDS = ("cry", "ambiguous", "confuser", "other")
ALL = "all"


@dataclass(frozen=True)
class AudioSetConfig(CorpusConfig):
    """Section ``corpus.audioset``: classes by name, each with its MID, and how many clips."""

    parts: list[str]  # balanced, unbalanced, eval
    seed: int
    cry: dict[str, str]
    ambiguous: dict[str, str]  # adult or infant: labelled unknown
    confusers: dict[str, str]
    others_per_cry: float  # clips with none of the classes above, in each part
    confusers_per_cry: Any  # a number, shared evenly by the classes, or "all"
    ambiguous_per_cry: float
    max_clips: int  # over all parts; 0: no limit
    features: bool  # fetch the published VGGish features too (gigabytes)

    def classes(self) -> Classes:
        """The classes alone."""
        return Classes(dict(self.cry), dict(self.ambiguous), dict(self.confusers))


@dataclass(frozen=True)
class Classes:
    """Names and MIDs of the classes that decide of a clip."""

    cry: dict[str, str]
    ambiguous: dict[str, str]
    confusers: dict[str, str]

    @cached_property
    def _by_mid(self) -> dict[str, tuple[int, ClassOf]]:
        """MID -> its rank and what it makes of a clip; cries first."""
        kinds = (CRY, self.cry), (AMBIGUOUS, self.ambiguous), (CONFUSER, self.confusers)
        known = [ClassOf(kind, *entry) for kind, classes in kinds for entry in classes.items()]
        # The first of two classes with one MID counts.
        return {what.mid: (rank, what) for rank, what in reversed(list(enumerate(known)))}

    def of(self, mids: Sequence[str]) -> ClassOf:
        """The class of a clip with ``mids``: the first that fits, cries first."""
        classes = [self._by_mid[mid] for mid in mids if mid in self._by_mid]
        return min(classes, key=itemgetter(0))[1] if classes else _OTHER


@dataclass(frozen=True)
class ClassOf:
    """What a clip counts as."""

    kind: str  # cry, ambiguous, confuser, other
    name: str  # of its class; other
    mid: str  # of its class; empty for other


_OTHER = ClassOf(OTHER, OTHER, "")


@dataclass(frozen=True)
class Chosen:
    """A row of the selection."""

    segment: Segment
    part: str  # balanced, unbalanced, eval
    what: ClassOf


def choose(folder: Path, config: AudioSetConfig) -> list[Chosen]:
    """The selection, by part and id, from the segments tables in ``folder``.

    In each part the numbers follow from its cries; ``max_clips`` then takes the same share of
    every class.
    """
    _check(config)
    chosen = [row for part in config.parts for row in _of_part(folder, part, config)]
    if not any(row.what.kind == CRY for row in chosen):
        raise CorpusError(
            f"{folder}: no clip of the classes in corpus.audioset.cry "
            f"({', '.join(config.cry.values())}) in the parts {', '.join(config.parts)}"
        )
    if config.max_clips and len(chosen) > config.max_clips:
        share = config.max_clips / len(chosen)
        sizes = Counter((row.part, row.what.name) for row in chosen)
        quota = {key: math.floor(share * size) for key, size in sizes.items()}
        draws = {key: _Draw(size, config.seed) for key, size in quota.items()}
        for row in chosen:
            draws[row.part, row.what.name].add(row)
        chosen = [row for draw in draws.values() for row in draw]
    order = {part: number for number, part in enumerate(SEGMENTS)}
    return sorted(chosen, key=lambda row: (order[row.part], row.segment.segment_id))


def _check(config: AudioSetConfig) -> None:
    for part in config.parts:
        if part not in SEGMENTS:
            raise ConfigError(
                f"corpus.audioset.parts: {part!r} is unknown; there are {', '.join(SEGMENTS)}"
            )
    if not config.parts or not config.cry:
        raise ConfigError("audioset: needs at least one of parts, and a class in cry")
    names = [*config.cry, *config.ambiguous, *config.confusers]
    if OTHER in names or len(set(names)) < len(names):
        raise ConfigError(f"audioset: a class name stands twice, or is {OTHER!r}")
    for key in ("others_per_cry", "ambiguous_per_cry", "confusers_per_cry", "max_clips"):
        value = getattr(config, key)
        if key == "confusers_per_cry" and value == ALL:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value < math.inf
        ):
            raise ConfigError(f"corpus.audioset.{key}: {value!r} is no number from 0 on")


def _of_part(folder: Path, part: str, config: AudioSetConfig) -> Iterator[Chosen]:
    file, classes = folder / SEGMENTS[part], config.classes()
    n_cries = sum(classes.of(row.mids).kind == CRY for row in read_segments(file))
    counts: dict[str, int | None] = dict.fromkeys(config.cry)
    counts |= dict.fromkeys(config.ambiguous, math.ceil(config.ambiguous_per_cry * n_cries))
    if config.confusers:
        each = None
        if config.confusers_per_cry != ALL:
            each = math.ceil(config.confusers_per_cry * n_cries / len(config.confusers))
        counts |= dict.fromkeys(config.confusers, each)
    counts[OTHER] = math.ceil(config.others_per_cry * n_cries)
    draws = {name: _Draw(size, config.seed) for name, size in counts.items()}
    for segment in read_segments(file):
        what = classes.of(segment.mids)
        draws[what.name].add(Chosen(segment, part, what))
    for draw in draws.values():
        yield from draw


class _Draw:
    """The ``size`` rows of lowest digest among those added (all: None), each id once."""

    def __init__(self, size: int | None, seed: int):
        self._size, self._seed = size, seed
        self._heap: list[tuple[int, str]] = []  # the highest digest first
        self._rows: dict[str, Chosen] = {}

    def add(self, row: Chosen) -> None:
        name = row.segment.segment_id
        if self._size == 0 or name in self._rows:
            return
        digest = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
        entry = (-int.from_bytes(digest, "big"), name)
        if self._size is None or len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry <= self._heap[0]:
            return
        else:
            del self._rows[heapq.heapreplace(self._heap, entry)[1]]
        self._rows[name] = row

    def __iter__(self) -> Iterator[Chosen]:
        return iter(self._rows.values())


def write_selection(path: Path, chosen: Sequence[Chosen]) -> None:
    """Write selection.csv, atomically."""
    with atomic_path(path) as temp, open(temp, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in chosen:
            segment = row.segment
            what = (segment.segment_id, row.part, row.what.name, row.what.kind, row.what.mid)
            where = (segment.ytid, f"{segment.start_s:.3f}", f"{segment.end_s:.3f}")
            writer.writerow((*what, *where, ",".join(segment.mids)))


def read_selection(path: Path) -> list[Chosen]:
    """Read selection.csv; CorpusError names line and column."""
    rows, segment_ids = [], set()
    for row in read_rows(path, COLUMNS):
        if row["part"] not in SEGMENTS:
            raise row.error("part", f"{row['part']!r} is none of {', '.join(SEGMENTS)}")
        if row["kind"] not in KINDS:
            raise row.error("kind", f"{row['kind']!r} is none of {', '.join(KINDS)}")
        times = tables.times(row, "start_s", "end_s")
        segment = Segment(tables.ytid(row, "ytid"), *times, tables.mids(row, "mids"))
        if row["segment_id"] != segment.segment_id:
            raise row.error("segment_id", f"{row['segment_id']!r}, expected {segment.segment_id}")
        if segment.segment_id in segment_ids:
            raise row.error("segment_id", f"{segment.segment_id} is listed twice")
        segment_ids.add(segment.segment_id)
        what = ClassOf(row["kind"], row.filled("class"), row["mid"])
        rows.append(Chosen(segment, row["part"], what))
    return rows


def found(folder: Path, ids: set[str], classes: Classes) -> Iterator[Chosen]:
    """Rows of the segments tables with one of ``ids``, where nobody made a selection."""
    left = set(ids)  # of a clip that stands twice the first row counts
    for part, name in SEGMENTS.items():
        if (folder / name).is_file():
            for segment in read_segments(folder / name):
                if segment.segment_id in left:
                    left.remove(segment.segment_id)
                    yield Chosen(segment, part, classes.of(segment.mids))
