"""Files of the generator: sounds in the publishers' formats, and tables.

Equal contents give equal bytes.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from crywatch.audio.encoding import encoded
from crywatch.corpora.generate.synthesis import RATE_HZ


def write_sound(path: Path, wave: np.ndarray, rate_hz: int) -> None:
    """Write ``wave`` [samples] at 22.05 kHz as a file of ``rate_hz``, format by suffix."""
    from crywatch.audio.waves.cleaned import to_int16
    from crywatch.audio.waves.resampling import resample

    path.parent.mkdir(parents=True, exist_ok=True)
    samples = to_int16(resample(wave, RATE_HZ, rate_hz))
    if path.suffix in (".wav", ".ogg"):
        import soundfile

        file = io.BytesIO()  # soundfile syncs a file on disk, which takes longer than its sound
        soundfile.write(file, samples, rate_hz, format=path.suffix[1:])
        made = file.getvalue()
        path.write_bytes(_with_fixed_serial(made) if path.suffix == ".ogg" else made)
    else:
        encode(path, samples, rate_hz)


def _with_fixed_serial(ogg: bytes) -> bytes:
    """An Ogg file with stream serial 1 and the pages' checksums set anew (RFC 3533, section 6).

    libsndfile draws the serial at random, so that no two files of the same sound were the same.
    """
    pages, start = [], 0
    while start < len(ogg):
        page = bytearray(ogg[start:])
        table = page[27 : 27 + page[26]]
        page = page[: 27 + len(table) + sum(table)]
        start += len(page)
        page[14:18] = (1).to_bytes(4, "little")
        page[22:26] = bytes(4)
        # Ogg's CRC-32 is zlib's with the bits the other way round, and without its inversions.
        crc = zlib.crc32(page.translate(_MIRRORED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[22:26] = int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")
        pages.append(bytes(page))
    return b"".join(pages)


_MIRRORED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

# What the suffix stands for: container and encoder.
_CODECS = {
    ".3gp": ("3gp", "aac"),
    ".caf": ("caf", "pcm_s16be"),
    ".m4a": ("ipod", "aac"),
    ".mp3": ("mp3", "mp3"),
    ".flac": ("flac", "flac"),
    ".opus": ("ogg", "libopus"),
}


def encode(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    """Write int16 ``samples`` [samples] in the format of the suffix of ``path``."""
    container, encoder = _CODECS[path.suffix]
    path.write_bytes(encoded(samples, rate_hz, container, encoder))


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence], delimiter: str = ","
) -> None:
    """Write ``rows`` below a header as CSV; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
