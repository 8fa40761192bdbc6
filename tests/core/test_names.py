"""Names of files: one in NFC and NFD, recordings and litter, and what may be printed."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from crywatch.core.names import (
    AUDIO_SUFFIXES,
    LITTER,
    Disk,
    is_litter,
    is_recording,
    json_line,
    normal,
    recordings_below,
    shown,
)

ROOT = Path(__file__).parents[2]
NFC, NFD = (unicodedata.normalize(form, "bébé") for form in ("NFC", "NFD"))
HEADS = {
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "rf64": b"RF64\xff\xff\xff\xffWAVEds64",
    "ogg": b"OggS\x00\x02",
    "flac": b"fLaC\x00\x00\x00\x22",
    "mp3": b"ID3\x04\x00\x00",
    "bare mp3": b"\xff\xfb\x90\x00",
    "aac": b"\xff\xf1\x50\x80",
    "caf": b"caff\x00\x01\x00\x00",
    "aiff": b"FORM\x00\x00\x00\x24AIFF",
    "m4a": b"\x00\x00\x00\x20ftypM4A ",
    "3gp": b"\x00\x00\x00\x18ftyp3gp4",
    "webm": b"\x1aE\xdf\xa3\x9fB\x86",
    "ts": (b"G" + bytes(187)) * 2,
    "m2ts": (bytes(4) + b"G" + bytes(187)) * 2,
}
OTHERS = {
    "text": b"export const x = 1;\n" * 30,
    "utf-16": "hello".encode("utf-16"),
    "picture": b"\x00\x00\x00\x20ftypheic",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "png": b"\x89PNG\r\n\x1a\n",
    "zip": b"PK\x03\x04",
    "empty": b"",
}


@pytest.mark.parametrize("name", ["sound", "sound.bin", "sound.ts", "sound.wav.bak"])
def test_a_name_that_says_nothing_leaves_it_to_the_content(tmp_path, name):
    file = tmp_path / name
    for kind, head in HEADS.items():
        file.write_bytes(head + bytes(50))
        assert is_recording(file), kind
    for kind, content in OTHERS.items():
        file.write_bytes(content)
        assert not is_recording(file), kind


def test_a_name_of_a_recording_is_one_whatever_is_in_it(tmp_path):
    for suffix in AUDIO_SUFFIXES - {".ts", ".mts"}:
        file = tmp_path / f"a{suffix.upper()}"
        file.write_bytes(b"damaged")
        assert is_recording(file), suffix
    assert not is_recording(tmp_path / "gone.wav")
    (tmp_path / "folder.wav").mkdir()
    for name in ("pipe.wav", "pipe"):
        os.mkfifo(tmp_path / name)
    assert list(recordings_below(tmp_path / "folder.wav")) == []
    for name in ("folder.wav", "pipe.wav", "pipe"):
        assert not is_recording(tmp_path / name)


def test_what_systems_and_browsers_leave_is_no_data(tmp_path):
    left = ["._a.wav", ".DS_Store", "Thumbs.db", "thumbs.DB", "desktop.ini", "a.wav.part", ".b.wav"]
    for name in [*left, "a.wav", "sub/b.wav"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(HEADS["wav"])
    assert [is_litter(name) for name in left] == [True] * 6 + [False]  # hidden, and may be data
    found = [path.relative_to(tmp_path).as_posix() for path in recordings_below(tmp_path)]
    assert found == ["a.wav", "sub/b.wav"]
    assert not any(map(is_litter, ("a.wav", "part.csv", "department.flac")))


def test_dvc_ignores_the_same():
    assert set(LITTER) <= set((ROOT / ".dvcignore").read_text().split())


@pytest.mark.parametrize(("on_disk", "asked"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_nfc_and_nfd_are_one_name(tmp_path, on_disk, asked):
    (tmp_path / on_disk).mkdir()
    (tmp_path / on_disk / f"{on_disk}.wav").touch()
    [folder] = os.listdir(tmp_path)  # as the file system spells it
    [file] = os.listdir(tmp_path / folder)
    disk = Disk(tmp_path)
    assert disk.spelt(f"{asked}/{asked}.wav") == f"{folder}/{file}"
    assert disk.spelt(f"{asked}/no.wav") == f"{folder}/no.wav"
    assert disk.spelt("no/no.wav") == "no/no.wav"
    assert normal(on_disk) == normal(asked)


def test_of_two_spellings_on_the_disk_each_is_itself(tmp_path):
    for name in (NFC, NFD):
        (tmp_path / name).touch()
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system takes them for one")
    assert [Disk(tmp_path).spelt(name) for name in (NFC, NFD)] == [NFC, NFD]


def test_nothing_that_is_printed_gives_orders():
    evil = "a\x1b[2J\n\r\t\x00\x7f\x9b31m\u2028\u202egpj.wav" + os.fsdecode(b"\xe9")
    assert shown(evil) == (r"a\x1b[2J\n\r\t\x00\x7f\x9b31m\u2028\u202egpj.wav" + r"\udce9")
    assert shown("bébé 泣き声 👶\u200d🍼.wav") == "bébé 泣き声 👶\u200d🍼.wav"
    line = json_line({"path": evil, "é": 1.5})
    assert json.loads(line) == {"path": evil, "é": 1.5} and "é" in line
    assert shown(line) == line
