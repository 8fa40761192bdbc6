"""The sound around events, where it is asked for: FLAC clips and ``recordings.csv``.

``recorder`` keeps what is heard until an event has ended, ``folder`` is where the clips lie,
bounded in size and age, and ``review`` brings those that a person labelled into the corpus
`recordings`.
"""

from __future__ import annotations

from crywatch.listening.clips.folder import Clip, ClipFolder
from crywatch.listening.clips.recorder import ClipRecorder, ClipsConfig

__all__ = ["Clip", "ClipFolder", "ClipRecorder", "ClipsConfig"]
