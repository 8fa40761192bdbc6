"""Weak clips: a label of the whole clip, which says that a cry is in it and not where.

They are what a publisher calls so (AudioSet, ICSD), crying clips without the onsets that others of
their kind have (ICSD's demo), and the user's own recordings of some length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from crywatch.corpora.shared.base import OWN
from crywatch.corpora.shared.details import FILE, read_details

# Kinds in table ``details``.
KIND = "weak"
WITH_ONSETS = ("strong", "real", "synthetic")


def weak_rows(
    clips: pd.DataFrame, events: pd.DataFrame, folders: Sequence[Path], over_s: float
) -> pd.Series:
    """[clips] bool, of clips that cry and of other sounds alike.

    ``folders`` are the cleaned corpora, whose details name the kind of a clip; own recordings of
    more than ``over_s`` seconds are weak. A clip with cries among ``events`` is not: it is known
    where they are.
    """
    kind_of: dict[str, str] = {}
    for folder in folders:
        if (folder / FILE).is_file():
            details = read_details(folder / FILE)
            kind_of |= dict(zip(details["clip_id"], details["kind"], strict=True))
    kind, cries = clips["clip_id"].map(kind_of), clips["label"] == "cry"
    named = (kind == KIND) | (kind.isin(WITH_ONSETS) & cries)
    long = (clips["corpus"] == OWN) & (clips["duration_s"] > over_s)
    known = clips["clip_id"].isin(events.loc[events["label"] == "cry", "clip_id"])
    return (named | long) & ~known
