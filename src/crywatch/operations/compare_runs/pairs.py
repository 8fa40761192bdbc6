"""The rows that two runs have in common: the same sound, the same second, the same label.

Runs of two rebuilds may have other clips, other splits and other names: a clip is known by its
corpus and the digest of its samples. What only one of them has, or what they label otherwise, is
left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KEYS = {"second": ["corpus", "sha256", "start_s"], "clip": ["corpus", "sha256"]}


@dataclass(frozen=True)
class PairedRows:
    """Rows of both runs."""

    labels: np.ndarray  # [n] bool: a cry
    first: np.ndarray  # [n] scores
    second: np.ndarray
    groups: np.ndarray  # [n] names of what must stay together in either run
    only_first: int  # rows without a partner
    only_second: int
    relabelled: int  # pairs whose labels differ

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return not (self.only_first or self.only_second or self.relabelled)


def pair(first: pd.DataFrame, second: pd.DataFrame, unit: str) -> PairedRows:
    """Pair rows (of `MeasuredPlace`) of two runs by what ``unit`` is known by."""
    both = _numbered(first, unit).merge(
        _numbered(second, unit),
        on=[*KEYS[unit], "copy"],
        how="outer",
        suffixes=("_first", "_second"),
        indicator="of",
    )
    common = both[both["of"] == "both"]
    same = common["is_cry_first"].astype(bool) == common["is_cry_second"].astype(bool)
    rows = common[same]
    return PairedRows(
        labels=rows["is_cry_first"].to_numpy(dtype=bool),
        first=rows["score_first"].to_numpy(dtype=float),
        second=rows["score_second"].to_numpy(dtype=float),
        groups=join_groups(rows["group_id_first"], rows["group_id_second"]),
        only_first=int((both["of"] == "left_only").sum()),
        only_second=int((both["of"] == "right_only").sum()),
        relabelled=int((~same).sum()),
    )


def _numbered(rows: pd.DataFrame, unit: str) -> pd.DataFrame:
    """With a column that numbers the copies of one clip within a corpus, by their names."""
    ordered = rows.sort_values(["clip_id"], kind="stable")
    copy = ordered.groupby(KEYS[unit], sort=False).cumcount()
    return ordered[[*KEYS[unit], "score", "is_cry", "group_id"]].assign(copy=copy)


def join_groups(first: pd.Series, second: pd.Series) -> np.ndarray:
    """[n] names of the groups that hold together what either of two groupings does."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if first.empty:
        return np.empty(0, dtype=str)
    names_first, in_first = np.unique(first.astype(str), return_inverse=True)
    names_second, in_second = np.unique(second.astype(str), return_inverse=True)
    size = len(names_first) + len(names_second)
    edges = (np.ones(len(in_first)), (in_first, len(names_first) + in_second))
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return component[in_first].astype(str)
