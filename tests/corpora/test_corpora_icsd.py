"""ICSD: strong, weak and synthetic tables, clips taken over from elsewhere, and the real demo."""

import os
from collections import Counter
from pathlib import Path

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import Event, Refused
from tests.helpers.generated import generated

REAL = Path(os.environ.get("CRYWATCH_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))


def corpus_of(folder, part="train", stem="real_strong_train", rows="", files=(), header=None):
    """A folder with one table; ``rows`` is its text below the header."""
    for name in ("audio", "metadata"):
        (folder / "data" / name / part).mkdir(parents=True, exist_ok=True)
    header = header or "filename\tonset\toffset\tevent_label\n"
    (folder / "data" / "metadata" / part / f"{stem}.tsv").write_text(header + rows)
    for file in files:
        target = folder / "data" / "audio" / part / stem / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"not read by the loader")
    return folder


def entries(folder):
    found = list(corpora.get("icsd").index(folder))
    return {Path(entry.source_path).name: entry for entry in found}


def test_all_parts_and_kinds_are_read(tmp_path):
    generated("icsd", tmp_path, seed=3, infants=4)
    clips = list(corpora.get("icsd").index(tmp_path))
    kinds = Counter((clip.details.part, clip.details.kind) for clip in clips)
    assert kinds == {
        ("train", "real"): 2,
        ("train", "synthetic"): 2,
        ("train", "weak"): 2,
        ("validation", "real"): 2,
        ("validation", "synthetic"): 2,
        ("test", "real"): 3,
        ("test", "synthetic"): 2,
    }
    for clip in clips:
        assert (clip.label == "cry") == (clip.category == "Infantcry")
        strong = clip.details.kind != "weak" and clip.category != "background"
        assert len(clip.events) == strong


def test_several_events_of_both_classes_are_in_the_order_of_time(tmp_path):
    rows = "a.wav\t5.5\t7\tSnoring\na.wav\t0.25\t2.5\tInfantcry\na.wav\t6\t8\tInfantcry\n"
    clip = entries(corpus_of(tmp_path, rows=rows, files=["a.wav"]))["a.wav"]
    assert clip.events == (
        Event(0.25, 2.5, "cry"),
        Event(5.5, 7.0, "snoring"),
        Event(6.0, 8.0, "cry"),
    )
    assert (clip.label, clip.category) == ("cry", "Infantcry+Snoring")


def test_weak_labels_give_no_events(tmp_path):
    rows = "a.wav\tSnoring,Infantcry\nb.wav\tSnoring\n"
    header = "filename\tevent_labels\n"
    found = entries(
        corpus_of(tmp_path, "train", "weak", rows, files=["a.wav", "b.wav"], header=header)
    )
    assert [found[name].label for name in ("a.wav", "b.wav")] == ["cry", "other"]
    assert all(clip.events == () and clip.details.kind == "weak" for clip in found.values())


def test_a_clip_without_events_is_known_from_an_empty_row_or_the_durations(tmp_path):
    rows = "a.wav\t1\t2\tInfantcry\nempty.wav\t\t\t\n"
    files = ["a.wav", "empty.wav", "quiet.wav", "stray.wav"]
    corpus_of(tmp_path, "test", "real_strong_test", rows, files)
    durations = tmp_path / "data/metadata/test/real_strong_test_durations.tsv"
    durations.write_text("filename\tduration\na.wav\t10\nempty.wav\t10\nquiet.wav\t10\n")
    found = entries(tmp_path)
    for name in ("empty.wav", "quiet.wav"):
        assert (found[name].label, found[name].category) == ("other", "background")
    assert found["a.wav"].label == "cry"
    assert isinstance(found["stray.wav"], Refused) and "in no table" in found["stray.wav"].reason


def test_clips_taken_over_keep_the_recording_of_their_source(tmp_path):
    upload = "0D1AD73E-4C5E-45F3-85C4-9A3CB71E8856-1430742197-1.0-m-04-hu"
    files = [
        "1-187207-A-20.wav",
        f"{upload}.wav",
        "Y-5xOcMJpTUk_70.000_80.000.wav",
        "other.wav",
    ]
    rows = "".join(f"{name}\t0\t1\tInfantcry\n" for name in files)
    found = entries(corpus_of(tmp_path, rows=rows, files=files))
    instance = upload[:36].lower()
    assert [found[name].recording_id for name in files] == [
        "freesound/187207",
        f"donateacry/{instance}/1430742197",
        "youtube/-5xOcMJpTUk",
        "icsd/other",
    ]
    assert found[files[1]].infant_id == f"donateacry/{instance}"
    assert found[files[0]].infant_id is None


def test_synthetic_clips_of_one_part_stay_together(tmp_path):
    generated("icsd", tmp_path, seed=3, infants=4)
    clips = [c for c in corpora.get("icsd").index(tmp_path) if c.details.kind == "synthetic"]
    assert {clip.recording_id for clip in clips} == {
        "icsd/synthetic/train",
        "icsd/synthetic/validation",
        "icsd/synthetic/test",
    }


def test_files_that_are_missing_are_refused(tmp_path):
    rows = "a.wav\t0\t1\tInfantcry\ngone.wav\t0\t1\tSnoring\n"
    found = entries(corpus_of(tmp_path, rows=rows, files=["a.wav"]))
    assert isinstance(found["gone.wav"], Refused) and "missing" in found["gone.wav"].reason
    assert found["a.wav"].label == "cry"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav\tsoon\t1\tInfantcry\n", r"real_strong_train\.tsv, line 2, column onset: 'soon'"),
        ("a.wav\t2\t1\tInfantcry\n", r"real_strong_train\.tsv, line 2, column offset"),
        ("a.wav\tnan\t1\tInfantcry\n", r"line 2, column onset: 'nan' is not a number"),
        ("../a.wav\t0\t1\tInfantcry\n", r"line 2, column filename: .* must lie below"),
        ("\t0\t1\tInfantcry\n", r"real_strong_train\.tsv, line 2, column filename: is empty"),
    ],
)
def test_a_broken_row_is_named_with_its_column(row, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        entries(corpus_of(tmp_path, rows=row, files=["a.wav"]))


def test_the_archive_without_its_folder_is_read_too(tmp_path):
    generated("icsd", tmp_path, seed=3, infants=4)
    whole = [e.recording_id for e in corpora.get("icsd").index(tmp_path)]
    assert [e.recording_id for e in corpora.get("icsd").index(tmp_path / "data")] == whole


@pytest.mark.skipif(not (REAL / "icsd").is_dir(), reason=f"no icsd in {REAL}")
def test_the_real_demo_is_indexed_and_loads():
    corpus = corpora.get("icsd")
    clips = [clip for clip in corpus.index(REAL / "icsd") if not isinstance(clip, Refused)]
    assert Counter((clip.label, clip.details.kind) for clip in clips) == {
        ("cry", "real"): 1,
        ("cry", "synthetic"): 1,
        ("other", "real"): 1,
        ("other", "synthetic"): 1,
    }
    for clip in clips:
        sound = corpus.load(REAL / "icsd", clip)
        assert sound.rate_hz == 16_000 and len(sound.wave) == 160_000


def test_a_file_of_the_demo_with_another_name_is_refused(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "Real_Dog.wav").write_bytes(b"")
    (entry,) = corpora.get("icsd").index(tmp_path)
    assert isinstance(entry, Refused)
