"""Cleaned clips: 16 kHz mono FLAC of 16 bits, written and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import AudioError


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Samples [-1, 1] as 16-bit integers, clipped."""
    return np.clip(np.rint(np.asarray(wave) * 32768.0), -32768, 32767).astype(np.int16)


def write_flac(path: Path | str, wave: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    """Write ``wave`` [samples] (float in [-1, 1], or int16) as 16-bit mono FLAC, atomically."""
    import soundfile

    samples = wave if wave.dtype == np.int16 else to_int16(wave)
    with atomic_path(path) as temp:
        try:
            soundfile.write(temp, samples, rate_hz, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(f"cannot write {path}: {error}") from error


def read_clean(path: Path | str) -> np.ndarray:
    """A cleaned FLAC as float32 [samples] at 16 kHz; AudioError if it is missing or not one."""
    return np.concatenate([np.zeros(0, np.float32), *clean_blocks(path)])


def clean_blocks(path: Path | str, size: int = -1, overlap: int = 0) -> Iterator[np.ndarray]:
    """A cleaned FLAC in blocks [samples] float32, each ``overlap`` samples into the next one.

    A block begins every ``size`` samples; -1 reads all at once. AudioError if the file is missing
    or not one.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != RATE_HZ or file.channels != 1:
                raise AudioError(
                    f"{path}: {file.samplerate} Hz, expected {RATE_HZ} Hz mono: "
                    "run `dvc repro clean`"
                )
            for start in range(0, file.frames, size if size > 0 else max(file.frames, 1)):
                file.seek(start)
                yield file.read(size + overlap if size > 0 else -1, dtype="float32")
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: not a cleaned clip ({error}): run `dvc repro clean`") from error
