"""AudioSet's published VGGish features: TFRecord files of SequenceExamples, without TensorFlow.

Context: video_id, start_time_seconds, end_time_seconds, labels (indices of
class_labels_indices.csv). Feature list ``audio_embedding``: 128 bytes a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.core.errors import TableError
from crywatch.corpora.shared.tfrecords import SequenceExample, read_records
from crywatch.detection.embedders.pca import DIM, dequantise

SUFFIX = ".tfrecord"
LIST = "audio_embedding"
VIDEO, LABELS = "video_id", "labels"
START, END = "start_time_seconds", "end_time_seconds"


@dataclass(frozen=True)
class PublishedClip:
    """One record."""

    video_id: str
    start_s: float  # in the video
    end_s: float
    labels: tuple[int, ...]  # class indices
    vectors: np.ndarray  # [seconds, 128] float32 in [-2, 2]; row i is second i of the clip


def shards(folder: Path) -> list[Path]:
    """All files of features below ``folder``, sorted; TableError if there is none."""
    files = sorted(path for path in Path(folder).rglob(f"*{SUFFIX}") if path.is_file())
    if not files:
        raise TableError(f"{folder}: no {SUFFIX} files; it should be audioset_v1_embeddings")
    return files


def read_shard(path: Path) -> Iterator[PublishedClip]:
    """The records of one file, one at a time; TableError names the file and the record (from 1)."""
    for number, record in enumerate(read_records(path), start=1):
        yield _clip(record, f"{path}, record {number}")


def _clip(record: SequenceExample, where: str) -> PublishedClip:
    context = record.context
    once = {name: context.get(name, ()) for name in (VIDEO, START, END)}
    for name, values in once.items():
        if len(values) != 1 or isinstance(values[0], bytes) != (name == VIDEO):
            raise TableError(f"{where}: {name} is missing, or is no single value")
    rows = record.lists.get(LIST, ())
    for second, row in enumerate(rows):
        if len(row) != 1 or not isinstance(row[0], bytes) or len(row[0]) != DIM:
            raise TableError(f"{where}: {LIST}, row {second}: not {DIM} bytes")
    levels = np.frombuffer(b"".join(row[0] for row in rows), dtype=np.uint8).reshape(-1, DIM)
    return PublishedClip(
        video_id=once[VIDEO][0].decode("ascii", "replace"),
        start_s=once[START][0],
        end_s=once[END][0],
        labels=context.get(LABELS, ()),
        vectors=dequantise(levels),
    )
