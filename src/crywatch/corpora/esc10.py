"""ESC-10: the ten classes of ESC-50 (400 clips of 5 s) that may be used commercially."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Refused
from crywatch.corpora.shared.esc50_folder import ESC10_LICENCE, Esc50Folder


class Esc10(Esc50Folder):
    """A folder of ESC-50 of which only the rows with column ``esc10`` true are read.

    ``LICENSE`` in the folder credits the author of each clip.
    """

    name = "esc10"
    licence = ESC10_LICENCE
    terms = "Creative Commons Attribution: name ESC-50, and the authors that its LICENSE names."
    commercial_use = True

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """The clips of the subset, in the table's order; other files are passed over."""
        for entry in super().entries(folder):
            if isinstance(entry, ClipEntry) and entry.licence == ESC10_LICENCE:
                yield entry
