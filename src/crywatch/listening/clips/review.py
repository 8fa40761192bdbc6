"""`crywatch review`: what a person says of clips, and how it comes into the corpus `recordings`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_path, owner_only, private_dir
from crywatch.core.lock import waiting
from crywatch.corpora.shared.recordings_table import (
    TABLE,
    read_cells,
    read_recordings,
    write_cells,
)
from crywatch.listening.clips.folder import LOCK, UNKNOWN, Clip, ClipFolder

INTO = "clips"  # folder of the corpus that takes them
OTHER = "other"
KEYS = {"c": "cry", "o": OTHER}


@dataclass(frozen=True)
class Delivery:
    """What a corpus was given."""

    cries: int
    others: int

    @property
    def clips(self) -> int:
        """Both kinds."""
        return self.cries + self.others


def unlabelled(clips: Sequence[Clip]) -> list[Clip]:
    """Those of which nothing is known yet, oldest first."""
    return sorted((c for c in clips if c.label == UNKNOWN), key=lambda clip: clip.recorded_at)


def deliver(clips: ClipFolder, corpus: Path) -> Delivery:
    """Move the labelled clips into ``corpus``, a folder of recordings with its table.

    Each is in the corpus before it leaves its folder, and a repeat after a stop adds none twice.
    What is no cry is no infant's either. CorpusError where the corpus' own table is damaged.
    """
    labelled = [clip for clip in clips.clips() if clip.label != UNKNOWN]
    if not labelled:
        return Delivery(0, 0)
    private_dir(corpus)
    with waiting(corpus / LOCK), owner_only():
        rows: dict[str, Mapping[str, str]] = {}
        if (corpus / TABLE).is_file():
            read_recordings(corpus)  # its rows are right, or nothing is changed
            rows = {row["path"]: row.values for row in read_cells(corpus)}
        for clip in labelled:
            path = f"{INTO}/{clip.path}"
            private_dir((corpus / path).parent)
            with atomic_path(corpus / path) as temp:
                shutil.copyfile(clips.file(clip.path), temp)
            infant = "" if clip.label == OTHER else clip.infant
            rows[path] = clip.cells() | {"path": path, "infant": infant}
        write_cells(corpus, rows.values())
    clips.remove([clip.path for clip in labelled])
    others = sum(clip.label == OTHER for clip in labelled)
    return Delivery(len(labelled) - others, others)
