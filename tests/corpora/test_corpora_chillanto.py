"""Baby Chillanto: class folders in several spellings, recordings out of the digits."""

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import Refused
from crywatch.corpora.chillanto import CLASSES


def put(folder, *paths):
    for path in (*(f"1s_{name}/.keep" for name in CLASSES), *paths):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"not read by the loader")
    return {e.source_path: e for e in corpora.get("chillanto").index(folder)}


def test_seconds_of_one_recording_are_one_infant(tmp_path):
    found = put(
        tmp_path,
        "1s_deaf/0025001010.wav",
        "1s_deaf/0025002010.wav",
        "1s_deaf/0026001010.wav",
        "1s_pain/0031001050.wav",
    )
    assert [clip.infant_id for clip in found.values()] == [
        "chillanto/0025",
        "chillanto/0025",
        "chillanto/0026",
        "chillanto/0031",
    ]
    assert [clip.category for clip in found.values()] == ["deaf"] * 3 + ["pain"]
    assert {clip.label for clip in found.values()} == {"cry"}
    assert all(c.infant_id == c.recording_id == c.session_id for c in found.values())
    assert found["1s_pain/0031001050.wav"].details.cause == "pain"


def test_other_names_stand_for_what_is_left_without_the_last_number(tmp_path):
    found = put(
        tmp_path, "1s_pain/baby a_1.wav", "1s_pain/baby a_12.wav", "1s_pain/b.wav", "1s_deaf/b.wav"
    )
    assert {path: clip.recording_id for path, clip in found.items()} == {
        "1s_deaf/b.wav": "chillanto/deaf/b",
        "1s_pain/b.wav": "chillanto/pain/b",
        "1s_pain/baby a_1.wav": "chillanto/pain/baby a",
        "1s_pain/baby a_12.wav": "chillanto/pain/baby a",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("asphyxia", "deaf", "hunger", "normal", "pain"),
        ("Asfixia", "Sordo", "Hambre", "Normal", "Dolor"),
        ("1s_asphyxia", "1s_deaf", "1s_hunger", "1s_normal", "1s_pain"),
    ],
)
def test_class_folders_are_found_at_any_depth(names, tmp_path):
    for name in names:
        file = tmp_path / "Data" / "set" / name / "0001001010.wav"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    clips = list(corpora.get("chillanto").index(tmp_path))
    assert sorted(clip.category for clip in clips) == sorted(CLASSES)


def test_whole_recordings_are_refused_beside_their_seconds(tmp_path):
    found = put(
        tmp_path, "Full_pain/01.wav", "FullNormal/02.wav", "1s_pain/0031001050.wav", "notes/x.wav"
    )
    refused = {path: e.reason for path, e in found.items() if isinstance(e, Refused)}
    assert set(refused) == {"Full_pain/01.wav", "FullNormal/02.wav", "notes/x.wav"}
    assert "whole recording" in refused["FullNormal/02.wav"]
    assert "not in the folder of a class" in refused["notes/x.wav"]


def test_the_classes_that_are_missing_are_named(tmp_path):
    put(tmp_path)
    (tmp_path / "1s_deaf" / ".keep").unlink()
    (tmp_path / "1s_deaf").rmdir()
    with pytest.raises(CorpusError, match="1s_deaf is missing"):
        list(corpora.get("chillanto").index(tmp_path))


def test_there_is_nothing_to_download():
    corpus = corpora.get("chillanto")
    assert corpus.remotes == () and "corpus.chillanto.folder=FOLDER" in corpus.obtain
    assert not corpus.commercial_use
