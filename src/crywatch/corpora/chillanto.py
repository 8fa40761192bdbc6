"""Baby Chillanto: seconds of cries in five classes, from INAOE by request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from crywatch.core.errors import CorpusError
from crywatch.corpora.shared.base import ClipEntry, Corpus, Details, Refused

# The classes, and the words for them in folder names.
CLASSES = {
    "asphyxia": ("asphyxia", "asfixia"),
    "deaf": ("deaf", "sordo"),
    "hunger": ("hunger", "hambre"),
    "normal": ("normal",),
    "pain": ("pain", "dolor"),
}
_CLASS_OF = {word: category for category, words in CLASSES.items() for word in words}
_FOLDER = re.compile(r"^(?P<whole>full_?)?(?:1s_?)?(?P<word>[a-z]+)$")
# Recording, second within it, code of the class: of the original set.
_DIGITS = re.compile(r"^(?P<recording>\d{4})\d{3}\d{3}$")
_NUMBERED = re.compile(r"^(?P<recording>.*[^_\s-])[_\s-]+\d+$")


class BabyChillanto(Corpus):
    """``1s_<class>/PPPPSSSCCC.wav`` at any depth: recording, second in it, code of the class.

    Copies with plain or Spanish class names are read too. A name of another form stands for the
    recording that is left without its last number.
    """

    name = "chillanto"
    citation = (
        "O. F. Reyes-Galaviz, S. D. Cano-Ortiz, C. A. Reyes-Garcia. Evolutionary-neural system "
        "to classify infant cry units for pathologies identification. MICAI 2008. The Baby "
        "Chillanto data base is a property of INAOE and CONACYT, Mexico."
    )
    licence = "by agreement with INAOE"
    terms = "Research only, for those whom INAOE gave it to; it must not be passed on."
    commercial_use = False
    homepage = "https://www.inaoep.mx"
    remotes = ()
    obtain = (
        "it is given on request by INAOE (https://www.inaoep.mx); unpack it and name the folder "
        "with -S corpus.chillanto.folder=FOLDER"
    )

    def check(self, folder: Path) -> None:
        """Each of the five classes must have a folder."""
        classes = set()
        if folder.is_dir():
            classes = {_class_of(path.name) for path in folder.rglob("*") if path.is_dir()}
        absent = sorted(f"1s_{name}" for name in set(CLASSES) - classes)
        if absent:
            raise CorpusError(
                f"{folder}: {', '.join(absent)} is missing; chillanto has a folder a class "
                f"({self.homepage})"
            )

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """All files by class folder; a recording is an infant."""
        for path in self.audio_files(folder, "."):
            names = Path(path).parent.parts
            category = next(filter(None, map(_class_of, reversed(names))), None)
            if category is None:
                yield Refused(path, "not in the folder of a class")
            elif any(_is_whole(name) for name in names):
                yield Refused(path, "a whole recording, whose seconds stand in the 1s_ folders")
            else:
                infant = f"chillanto/{_recording(path, category)}"
                yield ClipEntry(
                    source_path=path,
                    label="cry",
                    category=category,
                    recording_id=infant,
                    licence=self.licence,
                    infant_id=infant,
                    session_id=infant,
                    details=Details(kind="cry", cause=category),
                )


def _class_of(folder: str) -> str | None:
    match = _FOLDER.match(folder.strip().lower())
    return _CLASS_OF.get(match["word"]) if match else None


def _is_whole(folder: str) -> bool:
    match = _FOLDER.match(folder.strip().lower())
    return match is not None and match["whole"] is not None and match["word"] in _CLASS_OF


def _recording(path: str, category: str) -> str:
    stem = Path(path).stem
    if match := _DIGITS.match(stem):
        return match["recording"]  # unique over the classes
    match = _NUMBERED.match(stem)
    return f"{category}/{match['recording'] if match else stem}"
