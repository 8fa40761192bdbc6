"""Parts by infant, for the half that knows infants.

A personal baseline can be measured only on an infant with several sessions that no network has
heard, and most infants of the corpora have one or two. So those with the longest histories are held
back, and all others train: a share by chance, as for clips, would leave hardly anyone to measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from crywatch.core.errors import ConfigError
from crywatch.corpora.shared.details import FILE, read_details

OFFICIAL = {"train": "train", "dev": "val", "validation": "val", "test": "test"}


@dataclass
class InfantPartsConfig:
    """Section ``split.infants``."""

    only: list[str] = field(default_factory=list)  # corpora that the detector does not hear
    measured: list[str] = field(default_factory=list)  # corpora that no network hears
    long_sessions: int = 3  # from which an infant can have a baseline and a test
    held_share: float = 0.5  # of a corpus's infants, held back for that at most
    val_share: float = 0.34  # of those held back

    def __post_init__(self) -> None:
        if self.long_sessions < 2:
            raise ConfigError(
                f"split.infants.long_sessions is {self.long_sessions}: 2 is the least"
            )
        if not 0 < self.held_share < 1 or not 0 < self.val_share < 1:
            raise ConfigError(
                f"split.infants: held_share {self.held_share:g} and val_share {self.val_share:g} "
                "must be between 0 and 1"
            )


def infant_parts(
    clips: pd.DataFrame, official: dict[str, str], config: InfantPartsConfig
) -> pd.DataFrame:
    """The rows of ``clips`` (split_clips) with an infant, ``split`` by group anew.

    A publisher's own part (``official``, by clip_id) is kept. Of the others those are held back
    that the detector's val or test part holds, and of each corpus those with the most sessions, or
    all of a corpus in ``measured``. Of three held back about one is val, in the order of their
    sessions; everyone else is train. The detector may have trained on an infant that is held back
    here: it only says where crying is.
    """
    clips = clips[clips["infant_id"].notna()].reset_index(drop=True)
    sounding = clips[clips["canonical"] & (clips["label"] != "other")]
    sessions = sounding.groupby("group_id")["session_id"].nunique()
    groups = clips.groupby("group_id", sort=True).agg(corpus=("corpus", "first"))
    groups["sessions"] = sessions.reindex(groups.index, fill_value=0)
    tested = clips.loc[clips["split"].isin(("val", "test")), "group_id"].unique()
    detector_hears = ~groups["corpus"].isin(config.only)
    groups["held"] = groups.index.isin(tested) & detector_hears
    groups["held"] |= groups["corpus"].isin(config.measured)
    # By digest among equals: the choice depends on nothing but the groups' names.
    groups["draw"] = [hashlib.sha256(name.encode()).hexdigest() for name in groups.index]
    groups = groups.sort_values(["sessions", "draw"], ascending=[False, True])
    for _, rows in groups.groupby("corpus", sort=True):
        long = rows.index[rows["sessions"] >= config.long_sessions]
        groups.loc[long[: int(config.held_share * len(rows))], "held"] = True
    groups["split"] = "train"
    for _, rows in groups[groups["held"]].groupby("corpus", sort=True):
        turns = (pd.RangeIndex(1, len(rows) + 1) * config.val_share).astype(int)
        is_val = turns.to_series().diff().fillna(turns[0]).to_numpy() > 0
        groups.loc[rows.index, "split"] = ["val" if val else "test" for val in is_val]
    for group_id, rows in clips.groupby("group_id", sort=True):
        parts = {OFFICIAL[official[c]] for c in rows["clip_id"] if official.get(c) in OFFICIAL}
        if parts:
            # Of several the strictest: what is test in one corpus trains nothing.
            groups.loc[group_id, "split"] = max(parts, key=("train", "val", "test").index)
    return clips.assign(split=clips["group_id"].map(groups["split"]))


def official_parts(folders: Sequence[Path]) -> dict[str, str]:
    """The publishers' parts by clip_id, of the cleaned corpora that tell any."""
    known: dict[str, str] = {}
    for folder in folders:
        if (folder / FILE).is_file():
            details = read_details(folder / FILE)
            details = details[details["part"].notna()]
            known |= dict(zip(details["clip_id"], details["part"], strict=True))
    return known
