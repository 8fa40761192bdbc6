"""What a model was trained on, and therefore cannot be compared on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from crywatch.audio.mixer import Soundscape
from crywatch.core import paths
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import RegistryError, TableError
from crywatch.data.mixtures.soundscapes import ANNOTATIONS
from crywatch.data.selection import MADE
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS

TRAINING = "training.parquet"
COLUMNS = ("clip_id", "sha256", "group_id")


def write_training(clips_tables: Iterable[Path], path: Path) -> int:
    """Every clip of the training part, duplicates and unlabelled ones too; how many there are.

    A model trained on less (a corpus left out, say) is compared on less than it could be.
    """
    frame = pd.concat([read_table(table, SPLIT_CLIPS) for table in clips_tables])
    training = frame.loc[frame["split"] == "train", list(COLUMNS)].sort_values("clip_id")
    with atomic_path(path) as temp:
        training.reset_index(drop=True).to_parquet(temp, index=False, compression="zstd")
    return len(training)


def trained_on(
    path: Path, clips_tables: Iterable[Path], members: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """Ids of the clips at hand that the model with this list was trained on, or on their group.

    A clip is known by its sound, wherever it is now; its group by the name it had, and by any clip
    of it that was trained on. A recording that was made of such clips (``members``) is out too.
    """
    try:
        training = pd.read_parquet(path)
        sounds, groups = set(training["sha256"]), set(training["group_id"])
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"{path}: no list of training clips: {error}") from error
    clips = pd.concat([read_table(table, SPLIT_CLIPS) for table in clips_tables])
    is_made = clips["corpus"].isin(MADE)
    is_trained = clips["sha256"].isin(sounds)
    # Those that were made form one group a part, which says nothing of what went into them.
    groups |= set(clips.loc[is_trained & ~is_made, "group_id"])
    out = set(clips.loc[is_trained | (~is_made & clips["group_id"].isin(groups)), "clip_id"])
    out |= {
        name for name in clips.loc[is_made, "clip_id"] if out.intersection(members.get(name, ()))
    }
    return frozenset(out)


def read_members(
    soundscapes: Path = paths.SOUNDSCAPES, untrimmed: Path = paths.UNTRIMMED
) -> dict[str, frozenset[str]]:
    """The clips that soundscapes and untrimmed recordings were made of, by clip_id."""
    members = {
        plan.clip_id: frozenset(plan.clip_ids())
        for plan in read_annotations(soundscapes / ANNOTATIONS)
    }
    table = untrimmed / "members.csv"
    if table.is_file():
        for clip_id, rows in pd.read_csv(table).groupby("clip_id"):
            members[str(clip_id)] = frozenset(rows["member_clip_id"])
    return members


def read_annotations(path: Path) -> list[Soundscape]:
    """The plans of all soundscapes; empty where none were made."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Soundscape.from_annotation(json.loads(line)) for line in lines]
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: no annotation of a soundscape: {error}") from error
