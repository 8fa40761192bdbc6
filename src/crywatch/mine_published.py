"""The top seconds of AudioSet's clips by their published features: no audio is needed.

Clips stream shard by shard through a trained miner into Parquet, so that memory does not grow with
the two million of them. The miner must have been trained in the same space: VGGish with PCA.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from crywatch.anomaly.network import RtfmNetwork
from crywatch.atomic import atomic_path
from crywatch.corpora.audioset_selection import Classes
from crywatch.corpora.audioset_tables import CLASSES, read_classes, segment_id
from crywatch.embedders.pca import DIM
from crywatch.embedders.published import PublishedClip, read_shard, shards
from crywatch.errors import ConfigError, ModelError, TableError
from crywatch.mine import load_head, top_seconds
from crywatch.models import load
from crywatch.progress import progress

BATCH = 256  # clips scored at once
ROWS = 1 << 16  # of a row group
SCHEMA = pa.schema(
    [
        ("segment_id", pa.string()),  # <ytid>_<start ms>, as in the tables of segments
        ("video_id", pa.string()),
        ("shards", pa.string()),  # folder of the shard: bal_train, eval, unbal_train
        ("start_s", pa.float64()),  # in the clip
        ("score", pa.float64()),
        ("rank", pa.int64()),  # 0 is the clip's highest
        ("mids", pa.string()),  # weak labels of the clip, separated by commas
        ("kind", pa.string()),  # cry, ambiguous, confuser, other
        ("class", pa.string()),
    ]
)


@dataclass(frozen=True)
class MinedPublished:
    """How much was mined."""

    n_clips: int
    n_seconds: int


@dataclass(frozen=True)
class _Scored:
    clip: PublishedClip
    where: Path  # its shard
    scores: np.ndarray  # [seconds]


def run(
    features_dir: Path,
    model_dir: Path,
    classes: Classes,
    out_table: Path,
    top_t: int,
    classes_table: Path | None = None,
) -> MinedPublished:
    """Write the ``top_t`` best seconds of every clip below ``features_dir``, in their order.

    ``classes_table`` is class_labels_indices.csv, by default the one beside ``features_dir``.

    Raises
    ------
    ModelError
        The model is no miner, or was trained on other features than VGGish with PCA.
    TableError
        There are no features, a record is damaged, or a label is in no table of classes.
    """
    if top_t < 1:
        raise ConfigError(f"top_t: {top_t}, but at least one second of a clip has to be kept")
    check_model(model_dir)
    network = load_head(model_dir)
    files = shards(features_dir)
    table = classes_table or Path(features_dir).resolve().parent / CLASSES
    if not table.is_file():
        raise TableError(
            f"{table} is missing: it names the classes of the published labels; where it lies "
            "elsewhere, name it with --classes"
        )
    mids = {entry.index: entry.mid for entry in read_classes(table)}
    rows: list[tuple] = []
    n_clips = n_seconds = 0
    with atomic_path(out_table) as temp, pq.ParquetWriter(temp, SCHEMA, compression="zstd") as sink:
        for scored in _scored(files, network):
            n_clips += 1
            rows += _rows(scored, mids, classes, top_t)
            if len(rows) >= ROWS:
                n_seconds += _flush(sink, rows)
        n_seconds += _flush(sink, rows)
    return MinedPublished(n_clips, n_seconds)


def check_model(folder: Path) -> None:
    """Raise ModelError unless the model scores VGGish's numbers after PCA and quantisation."""
    model = load(folder)
    told = model.description.get("embedder")
    if model.description["kind"] != "rtfm" or not isinstance(told, dict):
        raise ModelError(
            f"{folder}: no miner on an embedder's features; data/train_miner holds such models"
        )
    if told.get("name") != "vggish" or not told.get("pca") or model.setting("dim") != DIM:
        space = f"{told.get('name')}{' with PCA' if told.get('pca') else ' without PCA'}"
        raise ModelError(
            f"{folder}: trained on {space}, but the published features are vggish with PCA: train "
            "it with `dvc exp run -S embedder=vggish -S embedder.pca=vggish_pca_params.npz`"
        )


def _scored(files: Iterable[Path], network: RtfmNetwork) -> Iterator[_Scored]:
    """Clips with the scores of their seconds, in order, computed in batches."""
    held: list[tuple[PublishedClip, Path]] = []
    for file in progress(files, "mine published", unit="shard"):
        for clip in read_shard(file):
            held.append((clip, file))
            if len(held) == BATCH:
                yield from _forward(held, network)
                held = []
    yield from _forward(held, network)


@torch.inference_mode()
def _forward(held: list[tuple[PublishedClip, Path]], network: RtfmNetwork) -> Iterator[_Scored]:
    scores: dict[int, np.ndarray] = {}
    lengths = [len(clip.vectors) for clip, _ in held]
    for length in sorted(set(lengths)):
        members = [at for at, n in enumerate(lengths) if n == length]
        bags = torch.from_numpy(np.stack([held[at][0].vectors for at in members]))
        found = network(bags).scores.numpy() if length else np.empty((len(members), 0))
        scores |= dict(zip(members, found.astype(np.float64), strict=True))
    for at, (clip, file) in enumerate(held):
        yield _Scored(clip, file, scores[at])


def _rows(scored: _Scored, names: Mapping[int, str], classes: Classes, top_t: int) -> list[tuple]:
    clip = scored.clip
    name = segment_id(clip.video_id, clip.start_s)
    for label in clip.labels:
        if label not in names:
            raise TableError(f"{scored.where}: {name} has label {label}, which is in no {CLASSES}")
    mids = [names[label] for label in clip.labels]
    what = classes.of(mids)
    shared = (",".join(mids), what.kind, what.name)
    return [
        (
            name,
            clip.video_id,
            scored.where.parent.name,
            float(second),
            scored.scores[second],
            rank,
            *shared,
        )
        for rank, second in enumerate(top_seconds(scored.scores, top_t))
    ]


def _flush(sink: pq.ParquetWriter, rows: list[tuple]) -> int:
    """Write ``rows`` as a row group and forget them; how many there were."""
    count = len(rows)
    if rows:
        columns = [
            pa.array(values, type=column.type)
            for values, column in zip(zip(*rows, strict=True), SCHEMA, strict=True)
        ]
        sink.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=count)
        rows.clear()
    return count
