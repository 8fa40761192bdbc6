"""Folds by group, in which every corpus and label is spread evenly, seconds counted.

Other sounds of some corpora are held out by whole categories: a detector that has heard one dog has
not heard none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import pandas as pd

from crywatch.core.errors import TableError


def folds(clips: pd.DataFrame, k: int, whole: Collection[str]) -> dict[str, int]:
    """group_id to fold, 0 to ``k - 1``.

    ``clips`` has group_id, corpus, label, category and duration_s. Categories of other sounds of
    the corpora in ``whole`` stay together, with all groups that hold a clip of them. The largest
    units are placed first, each into the fold with the fewest seconds of its corpus and label; a
    unit of several counts as its rarest.

    Raises
    ------
    TableError
        Fewer units than folds for cries, or for other sounds.
    """
    units = _units(clips, whole)
    frame = clips.assign(unit=clips["group_id"].map(units))
    kinds = frame.groupby(["corpus", "label"])["duration_s"].sum().sort_values(kind="stable")
    rarity = {kind: rank for rank, kind in enumerate(kinds.index)}
    sizes = frame.groupby("unit")["duration_s"].sum()
    of_unit = {
        unit: min(zip(rows["corpus"], rows["label"], strict=True), key=rarity.__getitem__)
        for unit, rows in frame.groupby("unit")
    }
    for label in ("cry", "other"):
        count = sum(kind[1] == label for kind in of_unit.values())
        if count < k:
            raise TableError(
                f"ablate_robust.folds is {k}, but there are {count} groups (or whole categories) "
                f"of label {label}: set it lower"
            )
    load = {kind: np.zeros(k) for kind in rarity}
    fold_of: dict[str, int] = {}
    for unit in sorted(of_unit, key=lambda name: (-round(sizes[name], 3), _digest(name))):
        # Equal loads go to the fold that holds least in all, so that rare kinds spread too.
        seconds_by_fold = load[of_unit[unit]]
        fold = min(
            range(k), key=lambda f: (seconds_by_fold[f], sum(part[f] for part in load.values()))
        )
        seconds_by_fold[fold] += sizes[unit]
        fold_of[unit] = fold
    return {group: fold_of[unit] for group, unit in units.items()}


def _units(clips: pd.DataFrame, whole: Collection[str]) -> dict[str, str]:
    """group_id to the name of what must stay together."""
    parent = {str(group): str(group) for group in clips["group_id"]}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    whole_clips = clips[clips["corpus"].isin(whole) & (clips["label"] == "other")]
    for _, rows in whole_clips.groupby(["corpus", "category"]):
        groups = sorted({root(group) for group in rows["group_id"]})
        for other in groups[1:]:
            parent[other] = groups[0]
    return {group: root(group) for group in parent}


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
