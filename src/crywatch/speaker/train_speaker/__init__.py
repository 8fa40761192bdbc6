"""Stage ``train_speaker``: an ECAPA-TDNN that tells infants apart, by one loss or a sum of them.

The network comes from VoxCeleb with its lower layers frozen (ICLAS), or from random weights. It
hears the infants of part train; the epoch that tells those of part val apart best is kept. "Loss"
logmel trains nothing: its vectors are statistics in the units of those infants.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError, named
from crywatch.core.threads import torch_threads
from crywatch.detection.training import write_trained
from crywatch.speaker import logmel
from crywatch.speaker.batches import (
    LEFT_OUT,
    BatchConfig,
    CropConfig,
    Crops,
    CryRef,
    InfantBatches,
    recordings_as_infants,
)
from crywatch.speaker.cries.store import CryStore, training_sounds
from crywatch.speaker.ecapa import DIM, EcapaConfig, build, to_model
from crywatch.speaker.losses import SpeakerLoss, SpeakerLossConfig
from crywatch.speaker.train_speaker.augmentation import CropAugmentation, CropAugmentationConfig
from crywatch.speaker.train_speaker.training import (
    EcapaEpoch,
    EcapaSchedule,
    Material,
    TrainedEcapa,
    scale_epochs,
    train,
)
from crywatch.speaker.train_speaker.validation import (
    InfantValidation,
    InfantVerdict,
    ValidationConfig,
    select_unchanged,
)

__all__ = ["EcapaEpoch", "TrainSpeakerConfig", "TrainSpeakerSummary", "run"]


@dataclass(frozen=True)
class TrainSpeakerConfig:
    """Section ``train_speaker``; epochs are those of the full schedule."""

    losses: dict[str, SpeakerLossConfig]
    changed: list[str]  # beginnings of the categories of recordings that are not heard
    batches: BatchConfig
    crops: CropConfig
    augmentation: CropAugmentationConfig
    validation: ValidationConfig
    epochs: int
    epoch_steps: int
    patience_epochs: int  # without a better validation before it stops
    lr: float  # the highest: it rises during the warm-up, then falls to 0
    loss_lr: float  # of what losses learn: GE2E's w and b, AAM's weight of each infant
    warmup: float  # share of the steps
    weight_decay: float
    threads: int  # that torch computes with; another number gives other last digits

    def schedule(self, scale: float) -> EcapaSchedule:
        """Epochs times ``scale``; ConfigError for what is out of range."""
        counts = (self.epochs, self.epoch_steps, self.patience_epochs, self.threads)
        if min(counts) < 1 or not scale > 0:
            raise ConfigError(
                "train_speaker: epochs, epoch_steps, patience_epochs and threads are "
                f"{', '.join(map(str, counts))}, schedule.scale is {scale:g}: set all above 0"
            )
        if min(self.lr, self.loss_lr) <= 0 or self.weight_decay < 0 or not 0 <= self.warmup < 1:
            raise ConfigError(
                f"train_speaker: lr is {self.lr:g}, loss_lr {self.loss_lr:g}, weight_decay "
                f"{self.weight_decay:g} and warmup {self.warmup:g}: set the rates above 0, the "
                "decay to 0 or more and the warm-up within [0, 1)"
            )
        return EcapaSchedule(
            epochs=scale_epochs(self.epochs, scale),
            epoch_steps=self.epoch_steps,
            patience_epochs=scale_epochs(self.patience_epochs, scale),
            lr=self.lr,
            loss_lr=self.loss_lr,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class TrainSpeakerSummary:
    """How the training went."""

    loss: str
    n_infants: int  # trained on
    n_cries: int
    n_val_infants: int
    n_val_recordings: int
    corpora: tuple[str, ...]  # whose cries it was trained or validated on
    measure: str  # what chose the epoch
    start: InfantVerdict  # before the first step
    best: EcapaEpoch
    history: list[EcapaEpoch]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        values = {
            "train_infants": self.n_infants,
            "train_cries": self.n_cries,
            "val_infants": self.n_val_infants,
            "val_recordings": self.n_val_recordings,
            "epochs": len(self.history),
            "best_epoch": self.best.epoch,
            "val_eer": self.best.val.eer,
            "val_eer_within": self.best.val.eer_within,
            "val_loss": self.best.val.loss,
            "start_val_eer": self.start.eer,
            "start_val_eer_within": self.start.eer_within,
            "start_val_loss": self.start.loss,
        }
        return {name: value for name, value in values.items() if value is not None}


def run(
    name: str,
    config: TrainSpeakerConfig,
    network: EcapaConfig,
    cries_dir: Path,
    scale: float,
    seed: int,
    out_dir: Path,
    work_dir: Path,
    on_epoch: Callable[[EcapaEpoch], None] | None = None,
) -> TrainSpeakerSummary:
    """Train with loss ``name``; writes model.json, model.safetensors, metrics.json, history.csv.

    Raises
    ------
    ConfigError
        A loss that is not there, or a value out of range.
    ModelError
        The network's weights cannot be had.
    TableError
        Part val holds fewer than two infants.
    """
    loss_config = named(config.losses, name, "train_speaker.losses")
    if loss_config.logmel is not None:
        return _statistics(name, loss_config, config, CryStore(cries_dir), seed, out_dir)
    schedule = config.schedule(scale)
    store = CryStore(cries_dir)
    cries = select_unchanged(store.table, config.changed, "train", "val")
    with torch_threads(config.threads):
        heard = cries[cries["split"] == "train"]
        material = _material(store, heard, config, loss_config.views, seed)
        validation = InfantValidation(store, config.validation, seed, config.changed)
        ecapa = build(network, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            loss = SpeakerLoss(loss_config, len(material.batches.infants), DIM)
        start_sha256 = weights_sha256(ecapa.network.state_dict())
        values = asdict(config) | {"losses": asdict(loss_config)}
        key = value_sha256(
            [values, list(network.frozen), start_sha256, scale, seed]
            + [store.digest, code_sha256(__name__)]
        )
        trained = train(ecapa, loss, material, validation, schedule, work_dir / key[:16], on_epoch)
    summary = TrainSpeakerSummary(
        loss=name,
        n_infants=heard["infant_id"][material.batches.labels != LEFT_OUT].nunique(),
        n_cries=len(heard),
        n_val_infants=len(validation.infants),
        n_val_recordings=len(validation.recordings),
        corpora=tuple(sorted(cries["corpus"].unique())),
        measure=validation.measure,
        start=trained.start,
        best=trained.best,
        history=trained.history,
    )
    start = {"source": network.source, "weights_sha256": start_sha256}
    _write(summary, loss_config, start, trained, out_dir)
    shutil.rmtree(work_dir, ignore_errors=True)
    return summary


def _statistics(
    name: str,
    loss: SpeakerLossConfig,
    config: TrainSpeakerConfig,
    store: CryStore,
    seed: int,
    out_dir: Path,
) -> TrainSpeakerSummary:
    """The model folder of log-mel statistics, and how well they tell the infants of val apart."""
    if loss.logmel is None or loss != SpeakerLossConfig(logmel=loss.logmel):
        raise ConfigError(f"train_speaker.losses.{name}: logmel stands alone, it is no term")
    cries = select_unchanged(store.table, config.changed, "train", "val")
    heard = cries[cries["split"] == "train"]
    sounds = training_sounds(store, loss.logmel.recordings, config.changed)
    statistics = logmel.LogMelStatistics.of(sounds)
    validation = InfantValidation(store, config.validation, seed, config.changed)
    verdict = validation.judge(statistics)
    summary = TrainSpeakerSummary(
        loss=name,
        n_infants=heard["infant_id"].nunique(),
        n_cries=len(heard),
        n_val_infants=len(validation.infants),
        n_val_recordings=len(validation.recordings),
        corpora=tuple(sorted(cries["corpus"].unique())),
        measure=validation.measure,
        start=verdict,
        best=EcapaEpoch(0, verdict.loss, {}, verdict, 0.0),
        history=[],
    )
    model = logmel.to_model(statistics, name, summary.corpora)
    write_trained(out_dir, model, _metrics(summary))
    return summary


def _material(
    store: CryStore, heard: pd.DataFrame, config: TrainSpeakerConfig, views: bool, seed: int
) -> Material:
    """Batches, crops and augmentation of the cries ``heard``: of infants, or of ``views``."""
    rows = heard.index.to_numpy()
    columns = zip(heard["cry_id"], heard["infant_id"], heard["session_id"], strict=True)
    refs = [CryRef(cry, infant, _known(session)) for cry, infant, session in columns]
    batches, least = config.batches, 2
    if views:
        refs, batches = recordings_as_infants(refs, heard["clip_id"].tolist(), batches)
        least = 1
    return Material(
        InfantBatches(refs, batches, seed, least),
        Crops(refs, lambda row: store.wave(rows[row]), config.crops, seed),
        CropAugmentation(config.augmentation, seed),
    )


def _known(session: object) -> str | None:
    return None if pd.isna(session) else str(session)


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values, hex."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(
    summary: TrainSpeakerSummary,
    loss: SpeakerLossConfig,
    start: dict[str, str],
    trained: TrainedEcapa,
    out_dir: Path,
) -> None:
    model = to_model(
        trained.ecapa,
        f"ecapa {summary.loss}",
        {
            "corpora": list(summary.corpora),
            "loss": {"name": summary.loss} | asdict(loss),
            "start": start,
            "weights_sha256": weights_sha256(trained.ecapa.network.state_dict()),
        },
    )
    write_trained(out_dir, model, _metrics(summary), [e.as_row() for e in summary.history])


def _metrics(summary: TrainSpeakerSummary) -> dict[str, float | str]:
    return summary.as_metrics() | {"loss": summary.loss, "measure": summary.measure}
