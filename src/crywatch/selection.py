"""Which clips a training sees: canonical, labelled, of one part, without a corpus left out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from crywatch.errors import ConfigError
from crywatch.tables import read_table

VAL_SHARE = 0.1  # of the training groups, where a corpus left out takes a class from validation


def labelled(clips_table: Path, leave_out: str = "") -> pd.DataFrame:
    """Canonical clips labelled cry or other.

    With ``leave_out`` every clip goes whose group holds a clip of that corpus, so that its copies
    in other corpora go too. A class that the validation part loses by that gets a tenth of its
    training groups.
    """
    clips = read_table(clips_table, "split_clips")
    if leave_out:
        if leave_out not in set(clips["corpus"]):
            raise ConfigError(f"leave_out: there is no corpus {leave_out!r} in {clips_table}")
        touched = set(clips.loc[clips["corpus"] == leave_out, "group_id"])
        clips = _validated(clips[~clips["group_id"].isin(touched)].copy())
    return clips[clips["canonical"] & clips["label"].isin(["cry", "other"])]


def _validated(clips: pd.DataFrame) -> pd.DataFrame:
    """``clips`` with both classes in the validation part, where there are groups for it."""
    usable = clips[clips["canonical"]]
    for label in ("cry", "other"):
        of_label = usable[usable["label"] == label]
        if (of_label["split"] == "val").any():
            continue
        groups = of_label.loc[of_label["split"] == "train", "group_id"].unique()
        if len(groups) > 1:
            # By digest: the choice depends on nothing but the groups' names.
            ordered = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
            moved = ordered[: max(1, round(VAL_SHARE * len(groups)))]
            clips.loc[clips["group_id"].isin(moved), "split"] = "val"
    return clips
