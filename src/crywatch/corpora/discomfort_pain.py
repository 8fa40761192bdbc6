"""Discomfort and pain: the same infants' cries at baths and at a vaccination.

No layout of a publisher is known. Read are two forms of names, and a table for any other; none of
them was checked against the authors' files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from crywatch.core.errors import CorpusError
from crywatch.core.names import Disk
from crywatch.corpora.shared.base import ClipEntry, Corpus, Details, Refused
from crywatch.corpora.shared.rows import read_rows

# The states, and the words for them in names of files and folders.
STATES = {
    "discomfort": ("discomfort", "bath", "bain"),
    "pain": ("pain", "vaccination", "vaccine", "vaccin"),
}
_STATE_OF = {word: state for state, words in STATES.items() for word in words}
TABLE, COLUMNS, OPTIONAL = "infants.csv", ("path", "infant", "state"), ("occasion",)

_STATE = re.compile(r"(?P<word>[A-Za-z]+?)(?P<occasion>\d*)")
_NAME = re.compile(r"(?P<infant>.+?)[_\s-]+(?P<state>[A-Za-z]+\d*)(?:[_\s-]+\d+)?")
_NUMBERED = re.compile(r"(?P<infant>.+?)(?:[_\s-]+\d+)?")


class DiscomfortPain(Corpus):
    """``INFANT_STATE[OCCASION]_N.wav``, or ``INFANT_N.wav`` in a folder ``STATE[OCCASION]``.

    States are words of `STATES`; an occasion is a bath or a vaccination, one of each where the name
    has no number of it. Where infants.csv (``path``, ``infant``, ``state`` and perhaps
    ``occasion``) lies in the folder, it says all that, and names are not read.
    """

    name = "discomfort_pain"
    citation = (
        "A. Koutseff, D. Reby, O. Martin, F. Levrero, H. Patural, N. Mathevon. The acoustic space "
        "of pain: cries as indicators of distress recovering dynamics in pre-verbal infants. "
        "Bioacoustics 27(4):313-325, 2018."
    )
    licence = "none is told"
    terms = "Research only: no licence that allows more is known."
    commercial_use = False
    homepage = "https://sro.sussex.ac.uk/id/eprint/68598"
    remotes = ()
    obtain = (
        "ask its authors (https://sro.sussex.ac.uk/id/eprint/68598), and name the folder of the "
        "recordings with -S corpus.discomfort_pain.folder=FOLDER"
    )

    def check(self, folder: Path) -> None:
        """There must be the table, or cries in both states."""
        if (folder / TABLE).is_file():
            return
        states = {e.category for e in self.entries(folder) if isinstance(e, ClipEntry)}
        if absent := [state for state in STATES if state not in states]:
            raise CorpusError(
                f"{folder}: {' and '.join(absent)} is missing; {self.name} has files named "
                f"INFANT_STATE_N.wav, a folder a state, or a table {TABLE} ({self.homepage})"
            )

    def entries(self, folder: Path) -> Iterator[ClipEntry | Refused]:
        """All files in the order of their paths, each a recording."""
        table = _read(folder) if (folder / TABLE).is_file() else None
        for path in self.audio_files(folder, "."):
            known = _parse(path) if table is None else table.get(path)
            if known is None:
                form = "the name has no infant and state" if table is None else "not in the table"
                yield Refused(path, form)
                continue
            infant, state, occasion = known
            infant_id = f"{self.name}/{infant}"
            yield ClipEntry(
                source_path=path,
                label="cry",
                category=state,
                recording_id=f"{self.name}/{path}",
                licence=self.licence,
                infant_id=infant_id,
                session_id=f"{infant_id}/{state}{occasion}",
                details=Details(cause=state),
            )


def _read(folder: Path) -> dict[str, tuple[str, str, str]]:
    """Infant, state and occasion by path; CorpusError names row and column."""
    disk, known = Disk(folder), dict[str, tuple[str, str, str]]()
    for row in read_rows(folder / TABLE, COLUMNS, (*COLUMNS, *OPTIONAL)):
        path, state = row.inside("path", disk), _STATE_OF.get(row.filled("state").lower())
        if state is None:
            raise row.error("state", f"{row['state']!r} is none of {', '.join(_STATE_OF)}")
        if path in known:
            raise row.error("path", f"{path} is listed twice")
        if not (folder / path).is_file():
            raise row.error("path", f"{path} is missing")
        known[path] = row.filled("infant").lower(), state, row["occasion"]
    return known


def _parse(path: str) -> tuple[str, str, str] | None:
    """Infant, state and occasion by the name of the file, or by that of the nearest folder."""
    stem = PurePosixPath(path).stem
    if (match := _NAME.fullmatch(stem)) and (state := _state(match["state"])):
        return match["infant"].lower(), *state
    for folder in reversed(PurePosixPath(path).parent.parts):
        if (state := _state(folder)) and (match := _NUMBERED.fullmatch(stem)):
            return match["infant"].lower(), *state
    return None


def _state(name: str) -> tuple[str, str] | None:
    match = _STATE.fullmatch(name)
    state = _STATE_OF.get(match["word"].lower()) if match else None
    return None if match is None or state is None else (state, match["occasion"])
