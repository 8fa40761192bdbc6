"""Sounds of a home that this package makes, by kind: what free corpora have few or none of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused

ROOT = "sounds"


class Synthetic(Corpus):
    """``sounds/KIND/NAME.flac``; the kinds are those of conf/kinds.yaml, and none is a cry."""

    name = "synthetic"
    citation = "Sounds made by crywatch (crywatch.corpora.samples.synthetic)."
    licence = "Apache 2.0"
    terms = "The terms of this package, which makes them."
    commercial_use = True
    homepage = ""
    remotes = ()
    obtain = (
        "it is generated with data.source=generated; a folder of yours is named with "
        "-S corpus.synthetic.folder=FOLDER"
    )

    def check(self, folder: Path) -> None:
        """The folder of sounds must be there."""
        self.require(folder, ROOT)

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """All files, by kind and name."""
        for path in self.audio_files(folder, ROOT):
            kind, name = Path(path).parent.name, Path(path).stem
            yield ClipEntry(path, "other", kind, f"synthetic/{kind}/{name}", self.licence)
