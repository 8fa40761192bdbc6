"""Which corpora clips come from, made-up recordings by the clips that they were made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from crywatch.data.selection import MADE, NO_SOURCE
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import SPLIT_CLIPS

if TYPE_CHECKING:
    import pandas as pd


def corpora_of(clips: pd.DataFrame) -> tuple[str, ...]:
    """Names of the corpora that the rows of ``clips`` (table "clips") come from, sorted."""
    made_up = clips["corpus"].isin(MADE)
    names = set(clips.loc[~made_up, "corpus"])
    for source_path in clips.loc[made_up, "source_path"].unique():
        names.update(source_path.split("+"))
    names.discard(NO_SOURCE)
    return tuple(sorted(names))


def heard(clips_tables: Iterable[Path], clip_ids: Collection[str]) -> tuple[str, ...]:
    """Names of the corpora that the clips ``clip_ids`` of these "split_clips" tables come from."""
    names: set[str] = set()
    for table in clips_tables:
        clips = read_table(table, SPLIT_CLIPS)
        names.update(corpora_of(clips[clips["clip_id"].isin(clip_ids)]))
    return tuple(sorted(names))
