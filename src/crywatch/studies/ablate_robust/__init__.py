"""Stage ``ablate_robust``: one change of the robust recipe, by cross-validation.

Folds are made of the training and validation groups alone; every clip is scored by the network that
did not hear its group, clean and through one channel. Nothing of the test part is read.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.errors import ConfigError, named
from crywatch.core.threads import one_thread
from crywatch.data.selection import LABELS, Source, strong_labels, weak_cries
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS
from crywatch.detection.robust.context import probabilities
from crywatch.detection.robust.recipe import RecipeConfig, change_recipe
from crywatch.detection.robust.sounds import Sounds
from crywatch.detection.robust.train_robust import (
    add_teacher_clips,
    drop_missing_teacher,
    of_unknown_seconds,
    train_on,
)
from crywatch.detection.robust.training import scale_schedule
from crywatch.detection.robust.validation import score_clips, silent
from crywatch.studies.ablate_robust.folds import folds
from crywatch.studies.ablate_robust.measures import CHANNEL, CLEAN, ScopeMetrics, headline, measure

PARTS = ("train", "val")


@dataclass(frozen=True)
class AblateRobustConfig:
    """Section ``ablate_robust``."""

    folds: int
    seed: int
    whole: list[str]  # corpora whose categories of other sounds are held out whole
    steps: int  # of a training, times schedule.scale
    recipes: dict[str, Any]  # name to what it changes in section train_robust

    def recipe(self, name: str, base: RecipeConfig) -> RecipeConfig:
        """``base`` with the changes of recipe ``name`` and this section's steps."""
        where = f"ablate_robust.recipes.{name}"
        changes = named(self.recipes, name, "ablate_robust.recipes") or {}
        if not isinstance(changes, Mapping):
            raise ConfigError(f"{where}: {changes!r} stands where changes of a recipe are expected")
        recipe = change_recipe(base, changes, where)
        if "steps" not in dict(changes.get("training") or {}):
            recipe.training.steps = self.steps
        # No validation in between: nothing is chosen by it.
        recipe.training.val_every = recipe.training.steps
        recipe.training.keep = "last"
        return recipe


@dataclass(frozen=True)
class AblationSummary:
    """What a recipe gave."""

    recipe: str
    n_clips: int
    measured: list[ScopeMetrics]

    def as_metrics(self) -> dict[str, float]:
        """For the tracking store, whose names have no commas."""
        return {name.replace(",", ""): v for name, v in headline(self.measured).items()}


@one_thread()
def run(
    name: str,
    config: AblateRobustConfig,
    base: RecipeConfig,
    split: Source,
    sounds_dir: Path,
    scale: float,
    out_dir: Path,
    work_dir: Path,
) -> AblationSummary:
    """Train and measure recipe ``name``; writes metrics.json, tables.json and recipe.json.

    A killed run goes on in the fold where it was. Raises as `train_robust.run` does.
    """
    recipe = config.recipe(name, base)
    recipe.training = scale_schedule(recipe.training, scale)
    sounds = Sounds(sounds_dir)
    recipe = drop_missing_teacher(recipe, sounds)
    table = read_table(split.clips, SPLIT_CLIPS)
    table = table[table["split"].isin(PARTS)]
    events = strong_labels([split.events])
    # Unlabelled clips too: no group is heard in part.
    table = table.assign(fold=table["group_id"].map(folds(table, config.folds, config.whole)))
    clips = table[table["label"].isin(LABELS)].drop(columns="fold").reset_index(drop=True)
    exact = clips["canonical"] & ~weak_cries(clips)
    fold_of = table.loc[table["label"].isin(LABELS), "fold"].reset_index(drop=True)
    unlabelled = table[table["canonical"] & of_unknown_seconds(table)]
    (channel,) = sounds.channels
    scores: dict[str, dict[str, np.ndarray]] = {CLEAN: {}, CHANNEL: {}}
    for fold in range(config.folds):
        outside, rest = clips[fold_of == fold], clips[(fold_of != fold) & exact]
        known = unlabelled[unlabelled["fold"] != fold].drop(columns="fold")
        trained, _ = train_on(
            add_teacher_clips(rest.reset_index(drop=True), known, sounds, recipe),
            outside[exact[outside.index]].reset_index(drop=True),
            events,
            sounds,
            recipe,
            config.seed,
            work_dir / str(fold),
        )
        for route, copy in ((CLEAN, "clean"), (CHANNEL, channel)):
            logits_of = score_clips(
                trained.network,
                sounds,
                outside["clip_id"].tolist(),
                copy,
                recipe.front_end,
                recipe.context,
            )
            scores[route] |= {
                clip_id: probabilities(logits) for clip_id, logits in logits_of.items()
            }
    quiet = {clip_id: silent(sounds, clip_id) for clip_id in clips["clip_id"]}
    summary = AblationSummary(name, len(clips), measure(clips, events, quiet, scores))
    with atomic_dir(out_dir) as temp:
        write_json(temp / "metrics.json", headline(summary.measured))
        write_json(temp / "tables.json", [row.as_dict() for row in summary.measured])
        write_json(temp / "recipe.json", recipe.as_dict())
    shutil.rmtree(work_dir, ignore_errors=True)
    return summary
