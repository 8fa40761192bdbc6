"""Names of files: which are one, which are recordings, which are no data, and how they are shown.

A name's accents are one character or two (NFC or NFD), as the system that wrote it has it: both are
one name.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3g2", "3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf"),
        *("flac", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg"),
        *("mpg", "mts", "oga", "ogg", "ogv", "opus", "ra", "rf64", "rm", "snd", "ts", "tta"),
        *("w64", "wav", "wave", "webm", "wma", "wmv", "wv"),
    )
)
# Files that systems and browsers leave beside others; .dvcignore has the same.
LITTER = ("._*", ".DS_Store", "Thumbs.db", "desktop.ini", "*.part", "*.crdownload", ".tmp-*")
HEAD_BYTES = 400
# What a recording begins with, in whatever name: WAV and its kin, Ogg, FLAC, MP3, AAC, CAF, AIFF,
# AMR, MP4, Matroska, ASF, MPEG-TS (packets of 188 bytes, or of 192 with a time before each).
_SOUND = re.compile(
    rb"(?:RIFF|RIFX|RF64|BW64)....WAVE|riff\x2e\x91|OggS|fLaC|ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3"
    rb"\xfa\xfb\xf0\xf1\xf8\xf9]|caff\x00\x01|FORM....AIF[FC]|#!AMR|\.snd\x00|wvpk|MAC \x96?"
    rb"|....ftyp(3g|M4|mp4|iso|qt|avc1|MSNV|dash)|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11"
    rb"|G.{187}G.{187}|.{4}G.{191}G",
    re.DOTALL,
)
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def normal(name: str) -> str:
    """The same name for NFC and NFD."""
    return unicodedata.normalize("NFC", name)


def shown(text: str) -> str:
    """``text`` on one line that no terminal and no table takes for orders: escaped as in Python."""
    return _NOT_SHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def json_line(record: dict[str, Any]) -> str:
    """``record`` as a line of JSON that is safe to print and gives the very values back."""
    text = json.dumps(record, ensure_ascii=False)
    return _NOT_SHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def is_litter(name: str) -> bool:
    """Whether a file of that name is no data."""
    return any(fnmatch(name.lower(), pattern.lower()) for pattern in LITTER)


def is_recording(path: Path) -> bool:
    """Whether a file is taken for a recording: by its name, else by how it begins.

    A name that other files have too (.ts) says nothing. Hidden files are none.
    """
    suffix = path.suffix.lower()
    if path.name.startswith(".") or is_litter(path.name):
        return False
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        if suffix in AUDIO_SUFFIXES and suffix not in (".ts", ".mts"):  # also TypeScript
            return True
        with open(path, "rb") as handle:
            return _SOUND.match(handle.read(HEAD_BYTES)) is not None
    except OSError:  # another's file
        return False


def recordings_below(folder: Path) -> Iterator[Path]:
    """All recordings at any depth, sorted."""
    return (path for path in sorted(folder.rglob("*")) if is_recording(path))


class Disk:
    """Names below ``folder`` as they are spelt there; each folder is read once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._listings: dict[Path, dict[str, str]] = {}

    def spelt(self, path: str) -> str:
        """``path`` below the folder as it is spelt there, by NFC or NFD; else as it is."""
        here = self.folder
        for part in PurePath(path).parts:
            names = self._names(here)
            here = here / names.get(part, names.get(normal(part), part))
        return here.relative_to(self.folder).as_posix()

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._listings:
            try:
                names = os.listdir(folder)
            except OSError:
                names = []
            self._listings[folder] = {normal(name): name for name in names} | {
                name: name for name in names
            }
        return self._listings[folder]
