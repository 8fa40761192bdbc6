"""Which clips a stage sees: labelled; for a training canonical, without what it leaves out.

A weak cry (see `crywatch.data.truth`) is a bag for the anomaly network and nothing else.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core.errors import ConfigError
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS

LABELS = ("cry", "other")
# Recordings made of clips, by the name of their corpus; their source_path names the corpora of the
# clips: "donateacry+esc50".
MADE = ("untrimmed", "soundscapes")
NO_SOURCE = "generated"  # stands for the corpus and the licence of what no clip went into
VAL_SHARE = 0.1  # of the training groups, where what is left out takes a class from validation
KIND = "kind:"  # of sound, where another name is a corpus


@dataclass(frozen=True)
class Source:
    """A table of clips (schema split_clips) and their strong labels."""

    clips: Path
    events: Path


def sounds(clips_tables: Iterable[Path]) -> pd.DataFrame:
    """All clips labelled cry or other, duplicates too: what is embedded, drawn and measured."""
    clips = pd.concat([read_table(path, SPLIT_CLIPS) for path in clips_tables])
    return clips[clips["label"].isin(LABELS)].reset_index(drop=True)


def strong_labels(events_tables: Iterable[Path]) -> pd.DataFrame:
    """All rows of those tables of events."""
    return pd.concat([read_table(path, EVENTS) for path in events_tables], ignore_index=True)


def labelled(clips_table: Path, leave_out: str = "", weak: bool = False) -> pd.DataFrame:
    """Canonical clips labelled cry or other, each second of them; with ``weak`` the weak cries too.

    With ``leave_out`` (see `is_left_out`) every clip goes whose group holds one of these, so that
    copies in other corpora go too. A class that the validation part loses by that gets a tenth of
    its training groups.
    """
    clips = read_table(clips_table, SPLIT_CLIPS)
    absent = [name for name in _names(leave_out) if not is_left_out(clips, name).any()]
    absent.sort(key=lambda name: name.startswith(KIND))  # a kind may be absent beside others
    if absent and (len(absent) == len(_names(leave_out)) or not absent[0].startswith(KIND)):
        what = "kind of sound" if absent[0].startswith(KIND) else "corpus"
        raise ConfigError(
            f"leave_out: there is no {what} {absent[0].removeprefix(KIND)!r} in {clips_table}: add "
            "it to corpora, or leave the variants out that never hear it (docs/corpora.md)"
        )
    if absent:
        print(f"leave_out: no clip is {', '.join(absent)}", file=sys.stderr)
    groups = set(clips.loc[is_left_out(clips, leave_out), "group_id"])
    if not weak:
        clips = clips[~weak_cries(clips)]
    if leave_out:
        clips = _validated(clips[~clips["group_id"].isin(groups)].copy())
    return clips[clips["canonical"] & clips["label"].isin(LABELS)]


def is_left_out(clips: pd.DataFrame, leave_out: str) -> pd.Series:
    """[clips] bool: of what ``leave_out`` names, corpora and kinds: "esc50", "kind:dog+kind:bird".

    ``clips`` have corpus and, where a kind is named, kind. Nothing is left out by "".
    """
    names = _names(leave_out)
    kinds = [name.removeprefix(KIND) for name in names if name.startswith(KIND)]
    of_corpora = clips["corpus"].isin(names)
    return of_corpora | clips["kind"].isin(kinds) if kinds else of_corpora


def leaves_kinds(leave_out: str) -> bool:
    """Whether kinds of sound are among what ``leave_out`` names."""
    return any(name.startswith(KIND) for name in _names(leave_out))


def _names(leave_out: str) -> list[str]:
    return [name.strip() for name in leave_out.split("+")] if leave_out else []


def weak_cries(clips: pd.DataFrame) -> pd.Series:
    """[clips] bool: a cry is somewhere in the clip, and no second of it is known."""
    return clips["weak"] & (clips["label"] == "cry")


def _validated(clips: pd.DataFrame) -> pd.DataFrame:
    """``clips`` with both classes in the validation part, where there are groups for it."""
    usable = clips[clips["canonical"]]
    for label in LABELS:
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
