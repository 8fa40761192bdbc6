"""The sounds of the trainings on disk: clips at 8 kHz, as they are and as channels leave them.

A folder of feature stores, one a copy of all clips: ``clean``, ``codec_0`` and so on, and the fixed
channel that is only measured on. A row is 20 ms, 160 samples float16: what its 11 bits lose lies
66 dB or more below each sample itself. Store ``teacher`` has a teacher's scores of all its classes
every quarter of a second of the clean clips. All are read through memory maps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from crywatch.audio.activity import FRAME
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError
from crywatch.data.features import FeatureStore

CLEAN = "clean"
CODEC = "codec_"
TEACHER = "teacher"
TEACHER_HOP_S = 0.25


@dataclass(frozen=True)
class ClipSamples:
    """Where the samples of a clip lie."""

    copy: str
    corpus: str
    first: int  # sample of the corpus
    samples: int


class Sounds:
    """What stage ``robust_sounds`` wrote."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        names = sorted(path.parent.name for path in self.folder.glob("*/store.json"))
        self._stores = {n: FeatureStore(self.folder / n) for n in names if n != TEACHER}
        self.teacher = FeatureStore(self.folder / TEACHER) if TEACHER in names else None
        if CLEAN not in self._stores:
            raise ConfigError(f"{self.folder}: no sounds here: run `dvc repro robust_sounds`")
        self._flat: dict[tuple[str, str], np.ndarray] = {}

    @property
    def codecs(self) -> list[str]:
        """Names of the copies that went through a codec."""
        return [name for name in self._stores if name.startswith(CODEC)]

    @property
    def channels(self) -> list[str]:
        """Names of the copies that went through a fixed channel."""
        return [name for name in self._stores if name != CLEAN and name not in self.codecs]

    @cached_property
    def digest(self) -> str:
        """Of what made the sounds."""
        stores = self._stores | ({TEACHER: self.teacher} if self.teacher else {})
        return value_sha256({name: asdict(store.info) for name, store in stores.items()})

    def place(self, clip_id: str, copy: str = CLEAN) -> ClipSamples:
        """Where a clip lies; TableError if it is not there."""
        rows = self._stores[copy].rows(clip_id)
        return ClipSamples(copy, rows.corpus, rows.first * FRAME, (rows.last - rows.first) * FRAME)

    def has(self, clip_id: str, copy: str) -> bool:
        """Whether there is such a copy of the clip."""
        return clip_id in self._stores[copy]

    def samples(self, copy: str, corpus: str) -> np.ndarray:
        """All samples of a corpus, [samples] float16, memory-mapped."""
        key = (copy, corpus)
        if key not in self._flat:
            self._flat[key] = self._stores[copy].array(corpus).reshape(-1)
        return self._flat[key]

    def frames(self, clip_id: str) -> np.ndarray:
        """[frames, 160] of a clean clip."""
        return self._stores[CLEAN].clip(clip_id)

    def wave(self, clip_id: str, copy: str = CLEAN) -> np.ndarray:
        """[samples] float32 at 8 kHz."""
        return self._stores[copy].clip(clip_id).reshape(-1).astype(np.float32)
