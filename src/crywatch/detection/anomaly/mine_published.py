"""Stage ``mine_published``: AudioSet's top seconds by its published features, without audio.

Clips stream shard by shard through a trained miner into Parquet, so that memory does not grow with
the two million of them; an engine may mine shards on many machines. The miner must have been
trained in the same space: VGGish with PCA.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from crywatch.audio.segments import RATE_HZ, n_segments
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import load
from crywatch.core.paths import MINED_SECONDS
from crywatch.core.progress import progress_bar
from crywatch.corpora.shared.audioset_selection import Classes
from crywatch.corpora.shared.audioset_tables import CLASSES, read_classes, segment_id
from crywatch.data.selection import labelled
from crywatch.data.tables import empty, write_table
from crywatch.data.tables.clips import MINED
from crywatch.detection.anomaly.mine import top_seconds
from crywatch.detection.anomaly.network import RtfmNetwork, load_head
from crywatch.detection.embedders.pca import DIM
from crywatch.detection.embedders.published import PublishedClip, read_shard, shards
from crywatch.detection.engine import LOCAL, Engine, Work

CORPUS = "audioset"
ALL = "all.parquet"  # of all clips, beside the mined seconds of those whose sound is there
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
class MinedRows:
    """What the table holds of one clip, in the order of `SCHEMA`."""

    shard: Path
    rows: list[tuple]


@dataclass(frozen=True)
class ShardMining(Work[Path, MinedRows]):
    """Reads shards and scores their clips, in batches that end with the shard."""

    model_dir: Path
    classes: Classes
    names: dict[int, str]  # of the published labels: index to mid
    top_t: int

    @cached_property
    def network(self) -> RtfmNetwork:
        """Loaded when it is first asked for."""
        return load_head(self.model_dir)

    def __call__(self, batch: Sequence[Path]) -> Iterator[MinedRows]:
        for shard in batch:
            clips: list[PublishedClip] = []
            for clip in read_shard(shard):
                clips.append(clip)
                if len(clips) == BATCH:
                    yield from self._mined(shard, clips)
                    clips = []
            yield from self._mined(shard, clips)

    def _mined(self, shard: Path, clips: list[PublishedClip]) -> Iterator[MinedRows]:
        for clip, scores in zip(clips, _scores(clips, self.network), strict=True):
            yield MinedRows(shard, self._rows(shard, clip, scores))

    def _rows(self, shard: Path, clip: PublishedClip, scores: np.ndarray) -> list[tuple]:
        name = segment_id(clip.video_id, clip.start_s)
        for label in clip.labels:
            if label not in self.names:
                raise TableError(f"{shard}: {name} has label {label}, which is in no {CLASSES}")
        mids = [self.names[label] for label in clip.labels]
        what = self.classes.of(mids)
        shared = (",".join(mids), what.kind, what.name)
        where = (name, clip.video_id, shard.parent.name)
        return [
            (*where, float(second), float(scores[second]), rank, *shared)
            for rank, second in enumerate(top_seconds(scores, self.top_t))
        ]


def run(
    features_dir: Path,
    model_dir: Path,
    classes: Classes,
    out_table: Path,
    top_t: int,
    classes_table: Path | None = None,
    engine: Engine = LOCAL,
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
    files = shards(features_dir)
    table = classes_table or Path(features_dir).resolve().parent / CLASSES
    if not table.is_file():
        raise TableError(
            f"{table} is missing: it names the classes of the published labels; where it lies "
            "elsewhere, name it with --classes"
        )
    mids = {entry.index: entry.mid for entry in read_classes(table)}
    work, at = ShardMining(model_dir, classes, mids, top_t), None
    rows: list[tuple] = []
    n_clips = n_seconds = 0
    with atomic_path(out_table) as temp, pq.ParquetWriter(temp, SCHEMA, compression="zstd") as sink:
        with progress_bar("mine published", len(files), "shard") as bar:
            for clip in engine.map(work, ([file] for file in files)):
                n_clips += 1
                rows += clip.rows
                bar.update(clip.shard != at)
                at = clip.shard
                if len(rows) >= ROWS:
                    n_seconds += _flush(sink, rows)
        n_seconds += _flush(sink, rows)
    return MinedPublished(n_clips, n_seconds)


def none_mined(folder: Path) -> MinedPublished:
    """Write the tables of `run` and `pick_own` to ``folder`` where AudioSet could not be had."""
    with pq.ParquetWriter(folder / ALL, SCHEMA):
        pass
    write_table(empty(MINED), folder / MINED_SECONDS, MINED)
    return MinedPublished(0, 0)


def pick_own(mined_table: Path, clips_table: Path, out_table: Path) -> int:
    """Write table "mined" of those seconds of `run` whose clips, with their sound, are in a split.

    That is what BlazeNet can train on; how many seconds they are comes back.
    """
    clips = labelled(clips_table, weak=True)
    clips = clips[clips["corpus"] == CORPUS]
    if clips.empty:
        raise TableError(f"{clips_table}: no labelled clip of {CORPUS}; it must be in corpora")
    clips = clips.assign(
        segment_id=[Path(source).stem for source in clips["source_path"]],
        seconds=[n_segments(round(length * RATE_HZ)) for length in clips["duration_s"]],
    )
    ids = clips["segment_id"].tolist()
    mined = pd.read_parquet(mined_table, filters=[("segment_id", "in", ids)])
    own = mined.merge(clips[["segment_id", "clip_id", "seconds"]], on="segment_id")
    own = own[own["start_s"] < own["seconds"]]
    write_table(own, out_table, MINED)
    return len(own)


def check_model(folder: Path) -> None:
    """Raise ModelError unless the model scores VGGish's numbers after PCA and quantisation."""
    model = load(folder)
    embedder = model.description.get("embedder")
    if model.description["kind"] != "rtfm" or not isinstance(embedder, dict):
        raise ModelError(
            f"{folder}: no miner on an embedder's features; data/mine holds such models"
        )
    if embedder.get("name") != "vggish" or not embedder.get("pca") or model.setting("dim") != DIM:
        space = f"{embedder.get('name')}{' with PCA' if embedder.get('pca') else ' without PCA'}"
        raise ModelError(
            f"{folder}: trained on {space}, but the published features are vggish with PCA: train "
            "it with `dvc exp run -S embedder=vggish -S embedder.pca=vggish_pca_params.npz`"
        )


@torch.inference_mode()
def _scores(clips: Sequence[PublishedClip], network: RtfmNetwork) -> list[np.ndarray]:
    """Of the seconds of each clip; clips of one length are one batch."""
    scores: dict[int, np.ndarray] = {}
    lengths = [len(clip.vectors) for clip in clips]
    for length in sorted(set(lengths)):
        members = [at for at, n in enumerate(lengths) if n == length]
        bags = torch.from_numpy(np.stack([clips[at].vectors for at in members]))
        bag_scores = network(bags).scores.numpy() if length else np.empty((len(members), 0))
        scores |= dict(zip(members, bag_scores.astype(np.float64), strict=True))
    return [scores[at] for at in range(len(clips))]


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
