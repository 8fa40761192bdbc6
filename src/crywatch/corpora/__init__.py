"""The corpora: a loader module each, opened by name with `get`; all obey `shared.base`.

A new corpus is a module and a line in `LOADERS`.
"""

from __future__ import annotations

from importlib import import_module

from crywatch.core.errors import ConfigError
from crywatch.corpora.shared.base import (
    ClipEntry,
    Corpus,
    Details,
    Event,
    Refused,
    Remote,
    WantedClip,
)

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

# By name, so that a stage depends on those loaders alone that it opens.
LOADERS = {
    "esc50": "crywatch.corpora.esc50:Esc50",
    "baby_cry_detection": "crywatch.corpora.baby_cry_detection:BabyCryDetection",
    "donateacry": "crywatch.corpora.donateacry:DonateACry",
    "cryceleb": "crywatch.corpora.cryceleb:CryCeleb",
    "icsd": "crywatch.corpora.icsd:Icsd",
    "enesbabycries": "crywatch.corpora.enesbabycries:EnesBabyCries",
    "audioset": "crywatch.corpora.audioset:AudioSet",
    "chillanto": "crywatch.corpora.chillanto:BabyChillanto",
    "discomfort_pain": "crywatch.corpora.discomfort_pain:DiscomfortPain",
    "urbansound8k": "crywatch.corpora.urbansound8k:UrbanSound8K",
    "debian": "crywatch.corpora.debian:Debian",
    "esc10": "crywatch.corpora.esc10:Esc10",
    "synthetic": "crywatch.corpora.synthetic:Synthetic",
    "recordings": "crywatch.corpora.recordings:Recordings",
}
NAMES = tuple(LOADERS)


def get(name: str) -> Corpus:
    """The corpus of that name; ConfigError if there is none."""
    if name not in LOADERS:
        raise ConfigError(f"corpora: {name!r} is unknown; there are {', '.join(NAMES)}")
    module, _, loader = LOADERS[name].partition(":")
    return getattr(import_module(module), loader)()
