"""Malformed recordings, drawn from a seed: whole ones of every container, and what happens to them.

An input is a whole recording that was flipped, overwritten, cut, spliced or given other numbers in
its headers, or a header of odd rates, channels and sizes in front of noise.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from crywatch.audio.encoding import encoded, encodes

SECONDS = 4.0
COMPRESSED = (  # name, container, encoder, Hz
    ("a.mp3", "mp3", "libmp3lame", 16_000),
    ("a.aac", "adts", "aac", 16_000),
    ("a.m4a", "ipod", "aac", 44_100),
    ("a.mp4", "mp4", "aac", 16_000),
    ("a.mov", "mov", "alac", 16_000),
    ("a.3gp", "3gp", "libopencore_amrnb", 8_000),
    ("a.amr", "amr", "libopencore_amrnb", 8_000),
    ("a.opus", "ogg", "libopus", 48_000),
    ("a.webm", "webm", "libopus", 48_000),
    ("a.mka", "matroska", "aac", 16_000),
    ("flac.mka", "matroska", "flac", 16_000),
    ("pcm.mkv", "matroska", "pcm_s16le", 16_000),
    ("a.ts", "mpegts", "aac", 16_000),
    ("mp2.ts", "mpegts", "mp2", 16_000),
    ("a.flv", "flv", "aac", 16_000),
    ("a.avi", "avi", "libmp3lame", 44_100),
    ("pcm.avi", "avi", "pcm_s16le", 16_000),
    ("a.caf", "caf", "alac", 16_000),
    ("adpcm.caf", "caf", "adpcm_ima_qt", 16_000),
    ("a.ac3", "ac3", "ac3", 48_000),
    ("a.wma", "asf", "libmp3lame", 16_000),
    ("a.wv", "wv", "wavpack", 16_000),
    ("a.tta", "tta", "tta", 16_000),
    ("adpcm.wav", "wav", "adpcm_ms", 16_000),
)
PLAIN = (  # format and subtype of libsndfile, channels
    *(("WAV", "PCM_16", n) for n in (1, 2, 6, 255)),
    *(("WAV", subtype, 1) for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("FLAC", "PCM_16", n) for n in (1, 2, 8)),
    *(("OGG", "VORBIS", n) for n in (1, 2, 8, 16, 255)),
    *(("AIFF", "PCM_16", 2), ("CAF", "PCM_16", 2), ("CAF", "ALAC_16", 8), ("W64", "PCM_16", 1)),
    *(("AU", "PCM_16", 1), ("RF64", "PCM_16", 1), ("MP3", "MPEG_LAYER_III", 2)),
)
NUMBERS = (0, 1, 7, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
# Of these a cut shows: they say how long they are, and what is left is the same to the last bit.
SHOWN = frozenset({"WAV/PCM_16", "WAV/PCM_24", "FLAC/PCM_16"})


@dataclass(frozen=True)
class Whole:
    """A recording before anything happened to it."""

    name: str
    content: bytes = field(repr=False)
    shows_cuts: bool


@dataclass(frozen=True)
class Malformed:
    """What became of one."""

    whole: Whole
    change: str
    content: bytes = field(repr=False)


@cache
def wholes() -> tuple[Whole, ...]:
    """One of each kind that this machine can write, of ``SECONDS``."""
    import soundfile

    made = []
    for name, container, encoder, rate_hz in COMPRESSED:
        if encodes(encoder):
            samples = (20_000 * np.sin(_steps(rate_hz))).astype(np.int16)
            with suppress(ValueError):  # an encoder may not like the container
                content = encoded(samples, rate_hz, container, encoder)
                made.append(Whole(name, content, False))
    for form, subtype, channels in PLAIN:
        sink = io.BytesIO()
        mono = np.sin(_steps(16_000))[:: 1 + channels // 16]  # many channels: not as long
        wave = np.outer(0.5 * mono, np.linspace(1, 0.5, channels))
        try:
            soundfile.write(sink, wave, 16_000, format=form, subtype=subtype)
        except soundfile.LibsndfileError:
            continue
        kind = f"{form}/{subtype}"
        name = f"{kind.replace('/', '-')}-{channels}.{form.lower()}"
        made.append(Whole(name, sink.getvalue(), kind in SHOWN and channels <= 2))
    return tuple(made)


def _steps(rate_hz: int) -> np.ndarray:
    time_s = np.arange(round(SECONDS * rate_hz)) / rate_hz
    return 2 * np.pi * (300 + 60 * time_s) * time_s  # never twice the same


def malformed(rng: np.random.Generator) -> Malformed:
    """The next one."""
    files = wholes()
    whole = files[rng.integers(len(files))]
    name = str(rng.choice(list(CHANGES), p=np.array(WEIGHTS) / sum(WEIGHTS)))
    content = CHANGES[name](rng, whole.content)
    if rng.random() < 0.2 and name != "cut":  # and something else on top
        second = str(rng.choice(["flip", "declare"]))
        name, content = f"{name}+{second}", CHANGES[second](rng, content)
    return Malformed(whole, name, content)


def _flip(rng: np.random.Generator, content: bytes) -> bytes:
    changed = np.frombuffer(content, np.uint8).copy()
    count = int(2 ** rng.uniform(0, 8))
    at = rng.integers(0, max(1, len(changed)), count)
    if rng.random() < 0.5:
        at %= 512  # of headers
    at = at[at < len(changed)]
    changed[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
    return changed.tobytes()


def _overwrite(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    fill = (bytes, lambda n: b"\xff" * n, rng.bytes)[rng.integers(3)]
    return content[:first] + fill(int(last - first)) + content[last:]


def _cut(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] if rng.random() < 0.5 else content[:first] + content[last:]


def _splice(rng: np.random.Generator, content: bytes) -> bytes:
    files = wholes()
    other = files[rng.integers(len(files))].content
    at = int(rng.integers(0, len(content) + 1))
    first, last = sorted(rng.integers(0, len(other) + 1, 2))
    way = rng.integers(3)
    if way == 0:
        return content + other
    if way == 1:
        return content[:at] + other[first:last] + content[at:]
    return content[:at] + other[last:]


def _declare(rng: np.random.Generator, content: bytes) -> bytes:
    """Other numbers in the first bytes: sizes, rates, channels, counts."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.choice([1, 2, 4, 8]))
        at = int(rng.integers(0, max(1, min(len(changed), 300) - size)))
        number = int(NUMBERS[rng.integers(len(NUMBERS))]) % (1 << 8 * size)
        order = "little" if rng.random() < 0.5 else "big"
        changed[at : at + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(changed)


def _wav(rng: np.random.Generator, content: bytes) -> bytes:
    """A WAV of any codec's number, channels, rate, sizes, and noise or what a whole one holds."""
    channels, bits = int(rng.integers(0, 256)), int(rng.choice([0, 1, 4, 8, 12, 16, 24, 32, 64]))
    rate = int(rng.choice([0, 1, 999, 8_000, 16_000, 48_000, 192_000, 2**31 - 1, 2**32 - 1]))
    codec = int(rng.choice([0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0xFF, 0xFFFE, 0xABCD]))
    align = int(rng.choice([0, 1, channels * bits // 8 % 65_536, 65_535]))
    form = struct.pack("<HHIIHH", codec, channels, rate, rate * align % 2**32, align, bits)
    form += rng.bytes(int(rng.choice([0, 2, 24])))
    sound = rng.bytes(30_000) if rng.random() < 0.5 else content
    size = len(sound) if rng.random() < 0.5 else int(NUMBERS[rng.integers(len(NUMBERS))])
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (len(body) + len(sound)) % 2**32) + body + sound


CHANGES: dict[str, Callable[[np.random.Generator, bytes], bytes]] = {
    "flip": _flip,
    "overwrite": _overwrite,
    "cut": _cut,
    "splice": _splice,
    "declare": _declare,
    "wav": _wav,
}
WEIGHTS = (3, 3, 3, 2, 3, 1)
