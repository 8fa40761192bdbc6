"""The sounds that are timed: the project's generator, in the codecs that the publishers use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import to_int16
from crywatch.audio.waves.resampling import resample
from crywatch.corpora.generate import synthesis
from crywatch.corpora.generate.files import encode
from crywatch.corpora.generate.freesound import CLASSES as ESC50_CLASSES
from crywatch.corpora.generate.freesound import SECONDS as ESC50_SECONDS
from crywatch.corpora.shared.base import ClipEntry, Corpus

SEED = 7
RECORDED_HZ = 44_100


@dataclass(frozen=True)
class Codec:
    """How a publisher stores its recordings."""

    name: str
    suffix: str
    rate_hz: int


CODECS = (
    Codec("wav 44.1 kHz", ".wav", RECORDED_HZ),  # ESC-50
    Codec("wav 8 kHz", ".wav", 8_000),  # Donate-a-cry, cleaned
    Codec("ogg 44.1 kHz", ".ogg", RECORDED_HZ),  # Baby Cry Detection
    Codec("3gp 8 kHz", ".3gp", 8_000),  # Donate-a-cry, Android
    Codec("caf 8 kHz", ".caf", 8_000),  # Donate-a-cry, iOS
    Codec("m4a 44.1 kHz", ".m4a", RECORDED_HZ),
    Codec("mp3 44.1 kHz", ".mp3", RECORDED_HZ),
)


class Folder(Corpus):
    """A flat folder of recordings; every second one is labelled a cry."""

    citation = terms = homepage = ""
    licence = "none"
    remotes = ()

    def __init__(self, name: str):
        self.name = name  # on the instance: there is a folder for each codec

    def check(self, folder: Path) -> None:
        """Any folder will do."""

    def entries(self, folder: Path) -> Iterator[ClipEntry]:
        """All files, by name."""
        for number, path in enumerate(self.audio_files(folder, ".")):
            label = "other" if number % 2 else "cry"
            yield ClipEntry(path, label, label, path, self.licence)


def clips(seconds: int) -> list[np.ndarray]:
    """At least ``seconds`` of sound as clips of 5 s, float32 [samples] at 22.05 kHz."""
    makers = [make for _, make in ESC50_CLASSES.values()]
    made = []
    for number in range(-(-seconds // round(ESC50_SECONDS))):
        rng = np.random.default_rng([SEED, number])
        wave = makers[number % len(makers)](ESC50_SECONDS, rng)
        made.append(synthesis.room(wave, rng).astype(np.float32))
    return made


def wave(recorded: list[np.ndarray], seconds: int) -> np.ndarray:
    """``recorded`` as one recording of ``seconds``, float32 [samples] at 16 kHz."""
    return resample(np.concatenate(recorded), synthesis.RATE_HZ, RATE_HZ)[: seconds * RATE_HZ]


def write(recorded: list[np.ndarray], codec: Codec, folder: Path) -> None:
    """One file a clip below ``folder``."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(recorded):
        samples = to_int16(resample(clip, synthesis.RATE_HZ, codec.rate_hz))
        stem = codec.name.replace(" ", "_").replace(".", "_")
        path = folder / f"{stem}_{number:04d}{codec.suffix}"
        if codec.suffix in (".wav", ".ogg"):
            soundfile.write(path, samples, codec.rate_hz)
        else:
            encode(path, samples, codec.rate_hz)
