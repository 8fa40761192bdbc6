"""What a model was trained on, and what it therefore must not be judged on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core import paths
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import RegistryError
from crywatch.data.selection import MADE
from crywatch.data.soundscapes import ANNOTATIONS
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS

TRAINING = "training.parquet"
COLUMNS = ("clip_id", "sha256", "group_id")


@dataclass(frozen=True)
class Members:
    """Of recordings that were made of clips: which clips."""

    of: dict[str, frozenset[str]]  # clip_id to clip_ids

    def touch(self, clip_id: str, clip_ids: Collection[str]) -> bool:
        """Whether one of ``clip_ids`` went into the recording."""
        return not self.of.get(clip_id, frozenset()).isdisjoint(clip_ids)


def write_training(clips_tables: Iterable[Path], path: Path) -> int:
    """Every clip of the training part, duplicates and unlabelled ones too; how many there are.

    A model that heard less of it (a corpus left out, say) is only judged on less than it could be.
    """
    frame = pd.concat([read_table(table, SPLIT_CLIPS) for table in clips_tables])
    kept = frame.loc[frame["split"] == "train", list(COLUMNS)].sort_values("clip_id")
    with atomic_path(path) as temp:
        kept.reset_index(drop=True).to_parquet(temp, index=False, compression="zstd")
    return len(kept)


def trained_on(path: Path, clips_tables: Iterable[Path], members: Members) -> frozenset[str]:
    """Ids of the clips at hand that the model with this list was trained on, or on their group.

    A clip is known by its sound, wherever it is now; its group by the name it had, and by any clip
    of it that was trained on. A recording that was made of such clips is out too.
    """
    try:
        known = pd.read_parquet(path)
        sounds, groups = set(known["sha256"]), set(known["group_id"])
    except (OSError, ValueError, KeyError) as error:
        raise RegistryError(f"{path}: no list of training clips: {error}") from error
    clips = pd.concat([read_table(table, SPLIT_CLIPS) for table in clips_tables])
    made = clips["corpus"].isin(MADE)
    heard = clips["sha256"].isin(sounds)
    # Those that were made form one group a part, which says nothing of what went into them.
    groups |= set(clips.loc[heard & ~made, "group_id"])
    out = set(clips.loc[heard | (~made & clips["group_id"].isin(groups)), "clip_id"])
    out |= {one for one in clips.loc[made, "clip_id"] if members.touch(one, out)}
    return frozenset(out)


def read_members(
    soundscapes: Path = paths.SOUNDSCAPES, untrimmed: Path = paths.UNTRIMMED
) -> Members:
    """From what the stages ``soundscapes`` and ``untrimmed`` write; empty where there is none."""
    from crywatch.operations.register.noise import read_annotations

    found = {
        plan.clip_id: frozenset(plan.clip_ids())
        for plan in read_annotations(soundscapes / ANNOTATIONS)
    }
    table = untrimmed / "members.csv"
    if table.is_file():
        for clip_id, rows in pd.read_csv(table).groupby("clip_id"):
            found[str(clip_id)] = frozenset(rows["member_clip_id"])
    return Members(found)
