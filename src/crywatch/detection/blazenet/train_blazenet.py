"""Stage ``train_blazenet``: one variant of Table 4, by a reading of the paper's recipe.

Only the training segments differ between variants; validation is always on all plain segments of
the validation part. Lightning saves its state after every epoch, and a killed training goes on from
there to the same weights. Processes may share a training (DDP): each computes a part of every
batch, all come to the same weights, and the first one writes them.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from crywatch.audio.activity import ActivityConfig
from crywatch.core.atomic import atomic_dir, write_text
from crywatch.core.code import code_sha256
from crywatch.core.digest import files_sha256, value_sha256
from crywatch.core.errors import ConfigError, TableError, named
from crywatch.core.models import EMBEDDINGS, ModelFolder
from crywatch.core.paths import MISSING_NOTE
from crywatch.core.threads import one_thread
from crywatch.data.features import FeatureStore
from crywatch.data.selection import labelled, strong_labels
from crywatch.data.sources import heard
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import MINED
from crywatch.detection.blazenet.choosing import (
    MINED_PUBLISHED,
    BlazenetInputs,
    BlazenetVariant,
    active_segments,
    balanced_segments,
    loud_segments,
    plain_segments,
    training_segments,
)
from crywatch.detection.blazenet.data import (
    EpochSampler,
    Process,
    SegmentDataset,
    SharedBatches,
    whole_batch,
)
from crywatch.detection.blazenet.embeddings import write_embeddings
from crywatch.detection.blazenet.frontend import FrontEndConfig
from crywatch.detection.blazenet.module import (
    BETTER,
    BlazenetEpoch,
    BlazeNetModule,
    BlazenetRecipe,
    KeepBest,
)
from crywatch.detection.blazenet.network import N_PARAMETERS, NetworkConfig
from crywatch.detection.training import Best, write_trained

CHECKPOINT = "last.ckpt"
VAL_BATCH = 256
STRATEGIES = ("auto", "ddp")
RANKS = ("RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID")  # of a process, as its launcher says it


@dataclass
class TrainerConfig:
    """Group ``trainer``: what Lightning's Trainer computes with.

    The recipe stays: a batch is shared by the processes, not multiplied.
    """

    accelerator: str = "cpu"
    devices: int = 1  # processes on a machine
    num_nodes: int = 1  # machines
    strategy: str = "auto"  # or ddp
    precision: str = "32-true"

    @property
    def processes(self) -> int:
        """Of all machines."""
        return self.devices * self.num_nodes

    def check(self) -> None:
        """ConfigError where the processes could not share a training."""
        if self.devices < 1 or self.num_nodes < 1:
            raise ConfigError("trainer: devices and num_nodes must be at least 1")
        if self.strategy not in STRATEGIES or (self.processes > 1 and self.strategy != "ddp"):
            raise ConfigError(
                f"trainer.strategy: {self.strategy!r} with {self.processes} processes; it is auto "
                "for one process, and ddp for more: the others lose what is kept of the best epoch"
            )

    @property
    def follows(self) -> bool:
        """Whether another process writes and records the training that this one takes part in."""
        return self.processes > 1 and rank() > 0


def rank() -> int:
    """Above 0 in a process that was started to share a training, by what its launcher set."""
    texts = (os.environ.get(name, "") for name in RANKS)
    return max((int(text) for text in texts if text.isdecimal()), default=0)


@dataclass  # not frozen: OmegaConf merges into it
class RecipeConfig:
    """A reading of the paper, where it leaves something open or its authors' code differs."""

    front_end: str  # of pictures.front_ends
    lr: float  # of the first epochs
    dropout: float  # of the 224 numbers
    best: str  # epoch on the validation part, by loss or accuracy
    silence_peak: float  # no segment is trained on without a sample over it (1 is full scale)
    padding: str  # symmetric or same
    channels: str  # equal or imagenet

    @property
    def network(self) -> NetworkConfig:
        """What a detector needs to know of it."""
        return NetworkConfig(self.padding, self.channels)

    def check(self, key: str) -> None:
        """ConfigError, naming the key below ``key``, for what cannot be."""
        if self.best not in BETTER:
            raise ConfigError(f"{key}.best is {self.best!r}; there are {', '.join(BETTER)}")
        if not 0 <= self.dropout < 1 or not 0 <= self.silence_peak < 1 or self.lr <= 0:
            raise ConfigError(
                f"{key}: dropout is {self.dropout:g}, silence_peak {self.silence_peak:g} and lr "
                f"{self.lr:g}: set the first two within [0, 1) and lr above 0"
            )
        try:
            self.network.check(f"{key}.")
        except ValueError as error:
            raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class TrainBlazenetConfig:
    """Section ``train_blazenet``; epochs are those of the full schedule."""

    max_epochs: int
    batch_size: int
    momentum: float
    lr_step: int
    lr_gamma: float
    cache_mb: int
    recipes: dict[str, RecipeConfig]
    variants: dict[str, BlazenetVariant]
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    activity: ActivityConfig | None = None  # of active variants

    def variant(self, name: str) -> BlazenetVariant:
        """By name; ConfigError if there is none."""
        return named(self.variants, name, "train_blazenet.variants")

    def recipe(self, name: str) -> RecipeConfig:
        """Of variant ``name``; ConfigError if there is none, or it cannot be."""
        recipe = named(self.recipes, self.variant(name).recipe, "train_blazenet.recipes")
        recipe.check(f"train_blazenet.recipes.{self.variant(name).recipe}")
        return recipe


@dataclass(frozen=True)
class BlazenetSummary:
    """How the training went."""

    variant: str
    n_train: int
    n_train_cry: int
    n_val: int
    corpora: tuple[str, ...]  # whose clips it was trained or validated on
    epochs: int
    best: BlazenetEpoch
    history: list[BlazenetEpoch]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {
            "train_segments": self.n_train,
            "val_segments": self.n_val,
            "best_epoch": self.best.epoch,
            "val_accuracy": self.best.val_accuracy,
            "val_auc": self.best.val_auc,
            "val_loss": self.best.val_loss,
        }


@one_thread()
def run(
    name: str,
    config: TrainBlazenetConfig,
    front_end: FrontEndConfig,
    inputs: BlazenetInputs,
    scale: float,
    out_dir: Path,
    work_dir: Path,
    on_epoch: Callable[[BlazenetEpoch], None] | None = None,
) -> BlazenetSummary | None:
    """Train variant ``name``; writes model.json, model.safetensors, metrics.json, history.csv.

    Where the variant says so, embeddings/ too. A process that `TrainerConfig.follows` another one
    trains with it and writes nothing. None, and a note alone, where nothing was mined of published
    features because AudioSet could not be had.
    """
    variant, recipe = config.variant(name), config.recipe(name)
    config.trainer.check()
    if variant.embeddings and variant.segment_s != 1.0:
        raise ConfigError(
            f"train_blazenet.variants.{name}.embeddings: numbers for each second need segment_s "
            f"1.0, not {variant.segment_s:g}"
        )
    if variant.segments == MINED_PUBLISHED and read_table(inputs.mined_published, MINED).empty:
        if not config.trainer.follows:
            with atomic_dir(out_dir) as temp:
                write_text(temp / MISSING_NOTE, f"{name}: nothing is mined of published features\n")
        return None
    store = FeatureStore(inputs.features)
    train_refs = training_segments(variant, inputs, store)
    if variant.active:
        if config.activity is None or variant.segment_s != 1.0:
            raise ConfigError(
                f"train_blazenet.variants.{name}.active: needs segment_s 1.0 and "
                "train_blazenet.activity"
            )
        train_refs = active_segments(train_refs, inputs.split, config.activity)
    if recipe.silence_peak:
        tables = (inputs.split.clips, inputs.untrimmed_clips, inputs.soundscapes.clips)
        train_refs = loud_segments(train_refs, tables, front_end, recipe.silence_peak)
    if variant.balanced:
        train_refs = balanced_segments(train_refs, variant.seed)
    val_clips = labelled(inputs.split.clips, variant.leave_out)
    events = strong_labels([inputs.split.events])
    val_refs = plain_segments(val_clips[val_clips["split"] == "val"], store, events)
    for part, refs in (("train", train_refs), ("val", val_refs)):
        if len({ref.is_cry for ref in refs}) < 2:
            raise TableError(f"variant {name}: the {part} part lacks cries or other sounds")
    key = value_sha256(
        [variant.training(), asdict(recipe), asdict(front_end), scale]
        + [asdict(config) | {"variants": None, "recipes": None}]
        + [files_sha256([inputs.features / "store.json"]), code_sha256(__name__)]
        + [[(r.clip_id, r.index, r.is_cry) for r in refs] for refs in (train_refs, val_refs)]
    )
    best = fit(
        SegmentDataset(store, train_refs, config.cache_mb << 20),
        SegmentDataset(store, val_refs, config.cache_mb << 20),
        config,
        recipe,
        scale,
        variant.seed,
        work_dir / key[:16],
        on_epoch,
    )
    summary = BlazenetSummary(
        variant=name,
        n_train=len(train_refs),
        n_train_cry=sum(ref.is_cry for ref in train_refs),
        n_val=len(val_refs),
        corpora=heard(
            (inputs.split.clips, inputs.untrimmed_clips, inputs.soundscapes.clips),
            {ref.clip_id for ref in (*train_refs, *val_refs)},
        ),
        epochs=len(best.history),
        best=best.evaluation,
        history=best.history,
    )
    if not config.trainer.follows:
        embed = partial(_embed, inputs.features, work_dir) if variant.embeddings else None
        description = {
            "kind": "blazenet",
            "name": name,
            "segment_s": variant.segment_s,
            "frontend": front_end.as_dict(),
            "network": asdict(recipe.network),
            "parameters": N_PARAMETERS,
            "corpora": list(summary.corpora),
            "trained_on": variant.training() | {"segments_n": summary.n_train},
        }
        _write(summary, description, best, out_dir, embed)
        shutil.rmtree(work_dir, ignore_errors=True)
    return summary


def fit(
    train: SegmentDataset,
    val: SegmentDataset,
    config: TrainBlazenetConfig,
    recipe: RecipeConfig,
    scale: float,
    seed: int,
    work_dir: Path,
    on_epoch: Callable[[BlazenetEpoch], None] | None = None,
) -> Best[BlazenetEpoch]:
    """Lightning's loop; goes on from the checkpoint in ``work_dir`` if there is one."""
    import logging
    import sys

    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader, SequentialSampler

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    lightning.seed_everything(seed, verbose=False)
    lr_step = max(1, round(config.lr_step * scale))
    steps = (recipe.lr, config.momentum, lr_step, config.lr_gamma)
    training = BlazenetRecipe(*steps, recipe.dropout, seed, recipe.network)

    def place() -> Process:
        return Process(trainer.global_rank, trainer.world_size)

    batches = SharedBatches(EpochSampler(len(train), seed), config.batch_size, place)
    in_order = SharedBatches(SequentialSampler(val), VAL_BATCH * config.trainer.processes, place)
    module = BlazeNetModule(training, batches, in_order)
    keeper = KeepBest(on_epoch, recipe.best)
    checkpoint = ModelCheckpoint(
        work_dir,
        filename=Path(CHECKPOINT).stem,
        save_top_k=1,  # without a monitor: the last one
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    trainer = lightning.Trainer(
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        num_nodes=config.trainer.num_nodes,
        strategy=config.trainer.strategy,
        precision=config.trainer.precision,  # type: ignore[arg-type]
        max_epochs=max(1, round(config.max_epochs * scale)),
        deterministic=True,
        logger=False,
        callbacks=[keeper, checkpoint],
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # it would repeat rows to make the parts equal
        default_root_dir=work_dir,
    )
    resume = work_dir / CHECKPOINT
    trainer.fit(
        module,
        DataLoader(train, batch_sampler=batches, collate_fn=whole_batch),
        DataLoader(val, batch_sampler=in_order, collate_fn=whole_batch),
        ckpt_path=resume if resume.is_file() else None,
    )
    return keeper.best


def _write(
    summary: BlazenetSummary,
    description: dict[str, Any],
    best: Best[BlazenetEpoch],
    out_dir: Path,
    embed: Callable[[Path], None] | None,
) -> None:
    weights = {f"backbone.{name}": value for name, value in best.weights.items()}
    metrics = summary.as_metrics() | {"epochs": summary.epochs, "train_cry": summary.n_train_cry}
    history = [asdict(epoch) for epoch in summary.history]
    write_trained(out_dir, ModelFolder(description, weights), metrics, history, embed)


def _embed(pictures: Path, work_dir: Path, model_dir: Path) -> None:
    write_embeddings(model_dir, pictures, model_dir / EMBEDDINGS, work_dir / EMBEDDINGS)
