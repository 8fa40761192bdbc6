"""The untrimmed data set: weak clips of each part, or joined recordings where there are few."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from crywatch.data.selection import LABELS, weak_cries
from crywatch.data.tables import PARTS, write_table
from crywatch.data.tables.clips import SPLIT_CLIPS

FILE = "bags.parquet"  # table split_clips


def write_bags(clips: pd.DataFrame, joined: pd.DataFrame, min_weak: int, folder: Path) -> None:
    """Write the data set, of ``clips`` (labelled ones, weak cries too) and ``joined`` recordings.

    Weak clips stand in a part that has ``min_weak`` weak cries, the joined recordings in any other.
    A part of weak cries with fewer weak others has the joined ones without a cry; but never joined
    cries beside weak others, which would be told from each other by the joints.
    """
    pool = pd.concat([clips[clips["weak"]], joined], ignore_index=True)
    chosen = pool[:0]
    for part in PARTS:
        here = pool[pool["split"] == part]
        has_weak = weak_cries(here).sum() >= min_weak
        for label in LABELS:
            rows = here[here["label"] == label]
            is_weak = has_weak and rows["weak"].sum() >= min_weak
            chosen = pd.concat([chosen, rows[rows["weak"] == is_weak]])
    write_table(chosen.sort_index(), folder / FILE, SPLIT_CLIPS)
