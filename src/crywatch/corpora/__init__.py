"""The corpora: one module each. A new one is a module and a line in ``_CORPORA``."""

from __future__ import annotations

from crywatch.core.errors import ConfigError
from crywatch.corpora.audioset import AudioSet
from crywatch.corpora.baby_cry_detection import BabyCryDetection
from crywatch.corpora.base import ClipEntry, Corpus, Details, Event, Refused, Remote, WantedClip
from crywatch.corpora.chillanto import BabyChillanto
from crywatch.corpora.cryceleb import CryCeleb
from crywatch.corpora.donateacry import DonateACry
from crywatch.corpora.enesbabycries import EnesBabyCries
from crywatch.corpora.esc50 import Esc50
from crywatch.corpora.icsd import Icsd
from crywatch.corpora.recordings import Recordings

__all__ = [
    "NAMES",
    "ClipEntry",
    "Corpus",
    "Details",
    "Event",
    "Refused",
    "Remote",
    "WantedClip",
    "get",
]

_CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Esc50(),
        BabyCryDetection(),
        DonateACry(),
        CryCeleb(),
        Icsd(),
        EnesBabyCries(),
        AudioSet(),
        BabyChillanto(),
        Recordings(),
    )
}
NAMES = tuple(_CORPORA)


def get(name: str) -> Corpus:
    """The corpus of that name; ConfigError if there is none."""
    if name not in _CORPORA:
        raise ConfigError(f"corpora: {name!r} is unknown; there are {', '.join(NAMES)}")
    return _CORPORA[name]
