"""ESC-10: the ten classes of ESC-50 (400 clips of 5 s) that may be used commercially."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Refused
from crywatch.corpora.shared.esc50_folder import ESC10_LICENCE, Esc50Folder

CREDIT = re.compile(r"- \[(?P<take>[\w-]+)\.ogg\]: .*\[(?P<licence>[^]]*)\]")  # of ESC-50's LICENSE
CREDITED = """Clips of ESC-50's subset ESC-10 (Karol J. Piczak,
<https://github.com/karolpiczak/ESC-50>, CC BY 3.0), cut from recordings of Freesound:
"""


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

    def credits(self, folder: Path) -> Iterator[str]:
        """Who made the clips whose licence asks for a name, as ESC-50's LICENSE says it."""
        yield CREDITED
        takes = {Path(entry.source_path).stem.rpartition("-")[0] for entry in self.index(folder)}
        for path in sorted(folder.rglob("LICENSE")):
            for line in path.read_text(encoding="utf-8").splitlines():
                credit = CREDIT.fullmatch(line.strip())
                if credit and credit["take"] in takes and credit["licence"] != "CC0":
                    yield line.strip()
