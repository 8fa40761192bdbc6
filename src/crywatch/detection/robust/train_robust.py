"""Stage ``train_robust``: a BlazeNet that knows crying, not corpora, by one seed of the recipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from crywatch.core.code import code_sha256
from crywatch.core.digest import value_sha256
from crywatch.core.errors import TableError, named
from crywatch.core.models import EMBEDDINGS, ModelFolder
from crywatch.core.threads import one_thread
from crywatch.data.selection import Source, is_left_out, labelled, strong_labels, weak_cries
from crywatch.data.sources import corpora_of
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.blazenet.network import N_PARAMETERS
from crywatch.detection.robust.draws import pools
from crywatch.detection.robust.embeddings import write_embeddings
from crywatch.detection.robust.recipe import RecipeConfig
from crywatch.detection.robust.sounds import Sounds
from crywatch.detection.robust.teaching import add_unlabelled
from crywatch.detection.robust.training import Progress, TrainedRobust, scale_schedule, train
from crywatch.detection.robust.validation import RobustValidation
from crywatch.detection.training import write_trained

KEY = "train_robust"


@dataclass
class RobustVariant:
    """One training."""

    seed: int
    leave_out: str  # corpora and kinds of sound, as "esc50" or "kind:dog+kind:cat"; or ""
    row: str  # of a table: the name without the seed
    embeddings: bool = False  # its numbers for each second are written, for an anomaly head

    def training(self) -> dict[str, Any]:
        """What decides the weights, and the row."""
        return {key: value for key, value in vars(self).items() if key != "embeddings"}


@dataclass
class TrainRobustConfig(RecipeConfig):
    """Section ``train_robust``: the recipe, and the trainings by it."""

    variants: dict[str, RobustVariant]

    def variant(self, name: str) -> RobustVariant:
        """By name; ConfigError if there is none."""
        return named(self.variants, name, "train_robust.variants")

    def recipe(self) -> RecipeConfig:
        """Without the variants; ConfigError for what cannot be."""
        recipe = RecipeConfig(**{name: getattr(self, name) for name in _PARTS})
        recipe.check(KEY)
        return recipe


_PARTS = tuple(RecipeConfig.__dataclass_fields__)


@dataclass(frozen=True)
class RobustSummary:
    """How the training went."""

    variant: str
    n_train: int  # clips
    n_train_cry: int
    n_val: int
    n_pauses: int  # crying clips with a pause to draw
    corpora: tuple[str, ...]  # whose clips it was trained or validated on
    chosen: Progress
    history: list[Progress]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store."""
        return {
            "train_clips": self.n_train,
            "train_cry": self.n_train_cry,
            "val_clips": self.n_val,
            "pauses": self.n_pauses,
            **self.chosen.as_row(),
        }


@one_thread()
def run(
    name: str,
    config: TrainRobustConfig,
    split: Source,
    sounds_dir: Path,
    clips_tables: Sequence[Path],
    scale: float,
    out_dir: Path,
    work_dir: Path,
    on_validation: Callable[[Progress], None] | None = None,
) -> RobustSummary:
    """Train variant ``name``; writes model.json, model.safetensors, metrics.json, history.csv.

    Where the variant says so, embeddings/ of the clips of ``clips_tables`` too.

    Raises
    ------
    ConfigError
        A variant that is not there, a value out of range, or nothing to leave out.
    TableError
        A class is missing from a part, or a clip from the sounds.
    """
    variant = config.variant(name)
    recipe = config.recipe()
    recipe.training = scale_schedule(recipe.training, scale)
    sounds = Sounds(sounds_dir)
    clips = labelled(split.clips, variant.leave_out)
    events = strong_labels([split.events])
    parts = {
        part: clips[clips["split"] == part].reset_index(drop=True) for part in ("train", "val")
    }
    for part, frame in parts.items():
        if frame["label"].nunique() < 2:
            raise TableError(f"variant {name}: the {part} part lacks cries or other sounds")
    recipe = drop_missing_teacher(recipe, sounds)
    unlabelled = read_unlabelled(split.clips, variant.leave_out)
    # Where a corpus is left out, training groups may have been moved to the validation part.
    validated = unlabelled["group_id"].isin(parts["val"]["group_id"])
    unlabelled = unlabelled[(unlabelled["split"] == "train") & ~validated]
    parts["train"] = add_teacher_clips(parts["train"], unlabelled, sounds, recipe)
    trained, n_pauses = train_on(
        parts["train"], parts["val"], events, sounds, recipe, variant.seed, work_dir, on_validation
    )
    all_clips = pd.concat(parts.values())
    summary = RobustSummary(
        variant=name,
        n_train=len(parts["train"]),
        n_train_cry=int((parts["train"]["label"] == "cry").sum()),
        n_val=len(parts["val"]),
        n_pauses=n_pauses,
        corpora=corpora_of(all_clips),
        chosen=trained.chosen,
        history=trained.history,
    )
    embed = partial(_embed, clips_tables, work_dir) if variant.embeddings else None
    _write(summary, variant, recipe, trained, out_dir, embed)
    shutil.rmtree(work_dir, ignore_errors=True)
    return summary


def read_unlabelled(clips_table: Path, leave_out: str = "") -> pd.DataFrame:
    """Canonical clips of whose seconds nobody has said anything: unlabelled ones and weak cries.

    None shares a group with what ``leave_out`` names.
    """
    clips = read_table(clips_table, SPLIT_CLIPS)
    touched = set(clips.loc[is_left_out(clips, leave_out), "group_id"])
    rows = clips["canonical"] & of_unknown_seconds(clips) & ~clips["group_id"].isin(touched)
    return clips[rows].reset_index(drop=True)


def of_unknown_seconds(clips: pd.DataFrame) -> pd.Series:
    """[clips] bool: unlabelled, or a weak cry."""
    return (clips["label"] == "unknown") | weak_cries(clips)


def drop_missing_teacher(recipe: RecipeConfig, sounds: Sounds) -> RecipeConfig:
    """``recipe``, without its teacher where there is none: that is said, and is in the model."""
    if recipe.teacher.needed and sounds.teacher is None:
        print(
            f"{KEY}: there is no teacher, and much of what holds beyond a corpus comes from it: "
            "set yamnet.handle to YAMNet's .tflite file and run `dvc repro`",
            file=sys.stderr,
        )
        recipe.teacher = recipe.teacher.without()
    return recipe


def add_teacher_clips(
    clips: pd.DataFrame, unlabelled: pd.DataFrame, sounds: Sounds, recipe: RecipeConfig
) -> pd.DataFrame:
    """``clips``, and of the ``unlabelled`` ones those that the recipe's teacher is sure of."""
    if recipe.teacher.unlabelled and sounds.teacher is not None:
        return add_unlabelled(clips, unlabelled, sounds.teacher, recipe.teacher)
    return clips


def train_on(
    train_clips: pd.DataFrame,
    val_clips: pd.DataFrame,
    events: pd.DataFrame,
    sounds: Sounds,
    recipe: RecipeConfig,
    seed: int,
    work_dir: Path,
    on_validation: Callable[[Progress], None] | None = None,
) -> tuple[TrainedRobust, int]:
    """Train on those clips (canonical, labelled); also how many crying clips have pauses."""
    (channel,) = sounds.channels
    clip_pools = pools(train_clips, events, sounds, recipe.draws)
    validation = RobustValidation(
        val_clips, events, sounds, recipe.front_end, recipe.context, channel
    )
    key = value_sha256(
        [recipe.as_dict(), seed, sounds.digest, code_sha256(__name__)]
        + [
            frame[["clip_id", "sha256", "label", "group_id", "category"]].values.tolist()
            for frame in (train_clips, val_clips)
        ]
        + [events.values.tolist()]
    )
    trained = train(clip_pools, recipe, validation, seed, work_dir / key[:16], on_validation)
    return trained, len(clip_pools.pauses)


def _write(
    summary: RobustSummary,
    variant: RobustVariant,
    recipe: RecipeConfig,
    trained: TrainedRobust,
    out_dir: Path,
    embed: Callable[[Path], None] | None,
) -> None:
    description = {
        "kind": "robust",
        "name": summary.variant,
        "segment_s": 1.0,
        "frontend": recipe.front_end.as_dict(),
        "context": recipe.context.as_dict(),
        "parameters": N_PARAMETERS,
        "corpora": list(summary.corpora),
        "trained_on": variant.training() | {"clips_n": summary.n_train, "recipe": recipe.as_dict()},
    }
    weights = {f"backbone.{k}": v for k, v in trained.network.state_dict().items()}
    history = [progress.as_row() for progress in summary.history]
    write_trained(out_dir, ModelFolder(description, weights), summary.as_metrics(), history, embed)


def _embed(clips_tables: Sequence[Path], work_dir: Path, model_dir: Path) -> None:
    write_embeddings(model_dir, clips_tables, model_dir / EMBEDDINGS, work_dir / EMBEDDINGS)
