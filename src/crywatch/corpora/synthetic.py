"""Cries and sounds of a home that this package makes: what free corpora have few or none of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crywatch.corpora.shared.base import ClipEntry, Corpus, Refused

ROOT = "sounds"
CRIES = "infant_cry"  # a kind


class Synthetic(Corpus):
    """``sounds/KIND/NAME.flac``; the kinds are those of conf/kinds.yaml.

    Cries are among them, so that nothing can learn that what is made is none.
    """

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
            label = "cry" if kind == CRIES else "other"
            yield ClipEntry(path, label, kind, f"synthetic/{kind}/{name}", self.licence)
