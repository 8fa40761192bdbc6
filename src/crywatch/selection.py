"""Which clips a training sees: canonical, labelled, of one part, without a corpus left out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from crywatch.errors import ConfigError
from crywatch.tables import read_table


def labelled(clips_table: Path, leave_out: str = "") -> pd.DataFrame:
    """Canonical clips labelled cry or other.

    With ``leave_out`` every clip goes whose group holds a clip of that corpus, so that its copies
    in other corpora go too.
    """
    clips = read_table(clips_table, "split_clips")
    if leave_out:
        if leave_out not in set(clips["corpus"]):
            raise ConfigError(f"leave_out: there is no corpus {leave_out!r} in {clips_table}")
        touched = set(clips.loc[clips["corpus"] == leave_out, "group_id"])
        clips = clips[~clips["group_id"].isin(touched)]
    return clips[clips["canonical"] & clips["label"].isin(["cry", "other"])]
