"""Stage ``train_miner``: the RTFM network on the embedder, from clip labels alone (Table 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import named
from crywatch.core.models import ModelFolder
from crywatch.data.features import FeatureStore
from crywatch.data.selection import labelled
from crywatch.data.sources import corpora_of
from crywatch.detection.anomaly.bags import collect
from crywatch.detection.anomaly.training import BagEvaluation, BagTrainingConfig, TrainedHead, train
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.training import write_trained


@dataclass
class DatasetConfig:
    """A line of Table 3."""

    segments: int  # that a recording's seconds are interpolated to


@dataclass(frozen=True)
class TrainMinerConfig(BagTrainingConfig):
    """Section ``train_miner``."""

    datasets: dict[str, DatasetConfig]  # trimmed, untrimmed


@dataclass(frozen=True)
class AnomalySummary:
    """How a training of the anomaly network went."""

    n_abnormal: int  # bags trained on
    n_normal: int
    best: BagEvaluation
    steps: int  # taken until it stopped
    corpora: tuple[str, ...]  # whose clips it was trained or validated on

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {
            "bags_abnormal": self.n_abnormal,
            "bags_normal": self.n_normal,
            "best_step": self.best.step,
            "steps": self.steps,
            "val_bag_auc": self.best.val_auc,
            "val_bag_loss": self.best.val_loss,
        }


def run(
    dataset: str,
    config: TrainMinerConfig,
    embedder: EmbedderConfig,
    clips_tables: dict[str, Path],
    features_dir: Path,
    scale: float,
    seed: int,
    out_dir: Path,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None = None,
) -> AnomalySummary:
    """Train on the table of ``dataset`` in ``clips_tables``; writes a model folder."""
    segments = named(config.datasets, dataset, "train_miner.datasets").segments
    clips_table = named(clips_tables, dataset, "train_miner.datasets: the project")
    store = FeatureStore(features_dir)
    trained, summary = train_on(
        clips_table, "", store, segments, config, scale, seed, work_dir, on_evaluation
    )
    description = {
        "kind": "rtfm",
        "name": f"miner {dataset}",
        "segment_s": 1.0,
        "embedder": asdict(embedder) | {"digest": store.info.digest},
        "dim": store.info.dim,
        "segments": segments,
        "top_k": config.top_k,
        "loss": asdict(config.loss),
        "corpora": list(summary.corpora),
    }
    write_model(out_dir, description, {}, trained, summary)
    return summary


def train_on(
    clips_table: Path,
    leave_out: str,
    store: FeatureStore,
    segments: int,
    config: BagTrainingConfig,
    scale: float,
    seed: int,
    work_dir: Path,
    on_evaluation: Callable[[BagEvaluation], None] | None,
) -> tuple[TrainedHead, AnomalySummary]:
    """Train the anomaly network on the labelled clips of a table and their features."""
    clips = labelled(clips_table, leave_out)
    bags = {part: collect(clips, store, segments, part) for part in ("train", "val")}
    values = {field.name: getattr(config, field.name) for field in fields(BagTrainingConfig)}
    plain = BagTrainingConfig(**values)
    key = value_sha256(
        [asdict(plain), segments, scale, seed, leave_out, asdict(store.info)]
        + [files_sha256([clips_table]), code_sha256(__name__)]
    )
    trained = train(
        bags["train"], bags["val"], plain, scale, seed, work_dir / key[:16], on_evaluation
    )
    summary = AnomalySummary(
        n_abnormal=len(bags["train"].abnormal),
        n_normal=len(bags["train"].normal),
        best=trained.best,
        steps=trained.history[-1].step,
        corpora=corpora_of(clips[clips["split"] != "test"]),
    )
    return trained, summary


def write_model(
    out_dir: Path, description: dict, backbone: dict, trained: TrainedHead, summary: AnomalySummary
) -> None:
    """A self-contained model folder: the head, and the backbone it sits on."""
    head = {f"head.{name}": value for name, value in trained.network.state_dict().items()}
    write_trained(out_dir, ModelFolder(description, backbone | head), summary.as_metrics())
