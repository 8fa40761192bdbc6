"""Groups that must not cross a border of the split, and the split by group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd

from crywatch.data.tables import PARTS


def group_ids(clips: pd.DataFrame, links: Iterable[tuple[int, int]]) -> list[str]:
    """A group for each row: rows that share a recording, an infant or a link are in one group.

    ``links`` are pairs of row numbers (clips that share sound). A group is named after its smallest
    clip_id.
    """
    parent = list(range(len(clips)))

    def find(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(first: int, second: int) -> None:
        parent[find(second)] = find(first)

    for column in ("recording_id", "infant_id"):
        first_rows: dict[Hashable, int] = {}
        for row, value in enumerate(clips[column].tolist()):
            if value is not None and not pd.isna(value):
                join(first_rows.setdefault(value, row), row)
    for first, second in links:
        join(first, second)

    names: dict[int, str] = {}
    clip_ids = clips["clip_id"].tolist()
    for row, clip_id in enumerate(clip_ids):
        root = find(row)
        names[root] = min(names.get(root, clip_id), clip_id)
    return [names[find(row)] for row in range(len(clips))]


def assign_parts(
    groups: Sequence[str], strata: Sequence[str], ratios: dict[str, float], seed: int
) -> list[str]:
    """A part (train, val, test) for each row, the same for all rows of a group.

    Groups are taken largest first (ties in random order) and go where the strata that they hold
    are furthest below their share. A stratum of three groups or more that are its own has one in
    each part; where groups hold several strata, one of them can miss a part.
    """
    strata_names, stratum = np.unique(np.asarray(strata, dtype=object), return_inverse=True)
    group_names, group = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    counts = np.zeros((len(group_names), len(strata_names)))
    np.add.at(counts, (group, stratum), 1)
    share = np.array([ratios[part] for part in PARTS])
    share = share / share.sum()
    target = np.outer(share, counts.sum(axis=0))  # [parts, strata]
    have = np.zeros_like(target)
    order = np.random.default_rng(seed).permutation(len(group_names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part_of = np.full(len(group_names), -1)

    def give(row: int, part: int) -> None:
        part_of[row] = part
        have[part] += counts[row]

    # The small parts first get the smallest group of each stratum, so that none lacks one; rare
    # strata choose first.
    holders = [
        [row for row in order[::-1] if counts[row, column]] for column in range(len(target.T))
    ]
    for column in sorted(range(len(holders)), key=lambda column: len(holders[column])):
        if len(holders[column]) < len(PARTS):
            continue
        for part in (2, 1):
            free = [row for row in holders[column] if part_of[row] < 0]
            if not have[part, column] and len(free) > 1:
                give(free[0], part)
    for row in order:
        if part_of[row] >= 0:
            continue
        strata_here = counts[row] > 0
        after = have[:, strata_here] + counts[row, strata_here]
        # How far each part would be over its share; the least over (or furthest below) wins.
        excess = ((after - target[:, strata_here]) / counts[:, strata_here].sum(axis=0)).sum(axis=1)
        relative = (after / np.maximum(target[:, strata_here], 1e-9)).mean(axis=1)
        give(row, int(np.lexsort((excess, relative))[0]))
    return [PARTS[part_of[row]] for row in group]
