"""CryCeleb2023: metadata, official parts and pairs, and the challenge's submission."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import Refused, cryceleb
from crywatch.corpora.shared.cryceleb_tables import (
    Pair,
    read_metadata,
    read_pairs,
    write_submission,
)
from tests.helpers.generated import generated


@pytest.fixture
def folder(tmp_path):
    generated("cryceleb", tmp_path / "cryceleb", seed=3, infants=8)
    return tmp_path / "cryceleb"


def entries(folder):
    return list(corpora.get("cryceleb").index(folder))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_infants_periods_and_parts_are_read(folder):
    clips = entries(folder)
    assert {clip.label for clip in clips} == {"cry"}
    assert {clip.category for clip in clips} == {"birth", "discharge"}
    for clip in clips:
        _, part, baby, period, name = clip.source_path.split("/")
        assert clip.infant_id == f"cryceleb/{baby}"
        assert clip.session_id == clip.recording_id == f"cryceleb/{baby}/{period}"
        assert clip.details.part == part and clip.details.age_round == period
        assert name.startswith(f"{baby}_{period}_")
    periods = {}
    for clip in clips:
        periods.setdefault(clip.infant_id, set()).add(clip.details.age_round)
    assert Counter(map(len, periods.values())) == {2: 7, 1: 1}  # one without a discharge


def test_the_official_metadata_has_numbers_in_order(folder):
    cries = read_metadata(folder)
    assert {cry.part for cry in cries} == {"train", "dev", "test"}
    first = [cry for cry in cries if (cry.baby_id, cry.period) == ("spk1", "B")]
    assert [cry.number for cry in first] == [1, 2, 3]
    assert all(cry.duration_s == 0.9 for cry in cries)


def test_files_and_metadata_that_disagree_are_refused(folder):
    cries = read_metadata(folder)
    (folder / cries[0].path).unlink()
    stray = folder / "audio" / "train" / "spk1" / "B" / "spk1_B_999.wav"
    stray.write_bytes(b"")
    refused = {e.source_path: e.reason for e in entries(folder) if isinstance(e, Refused)}
    assert "missing" in refused.pop(cries[0].path)
    assert "not listed" in refused.pop(stray.relative_to(folder).as_posix())
    assert refused == {}


def test_a_file_that_stands_twice_counts_once(folder):
    before = [e.source_path for e in entries(folder)]
    table = folder / cryceleb.META
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    found = entries(folder)
    assert [e.source_path for e in found if not isinstance(e, Refused)] == before
    (twice,) = (e for e in found if isinstance(e, Refused))
    assert twice.source_path == before[0] and "twice" in twice.reason


def test_a_label_of_a_pair_is_0_or_1(folder):
    edit(folder / cryceleb.PAIRS["dev"], ",1\n", ",2\n")
    with pytest.raises(CorpusError, match=r"dev_pairs\.csv, line 2, column label: '2'"):
        read_pairs(folder, "dev")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",B,", ",X,", r"metadata\.csv, line 2, column period: 'X'"),
        (",train,", ",training,", r"metadata\.csv, line 2, column split: 'training'"),
        (",0.9,", ",short,", r"metadata\.csv, line 2, column duration: 'short'"),
        (",audio/train", ",../audio/train", r"line 2, column file_name: .* must lie below"),
        (",0.9,train,1,", ",0.9,train,nan,", r"line 2, column chronological_index: 'nan'"),
        ("spk1,", ",", r"metadata\.csv, line 2, column baby_id: is empty"),
        ("period", "time", r"metadata\.csv, line 1: column\(s\) period are missing"),
    ],
)
def test_a_broken_row_is_named_with_its_column(old, new, message, folder):
    edit(folder / cryceleb.META, old, new)
    with pytest.raises(CorpusError, match=message):
        entries(folder)


def test_dev_pairs_are_labelled_and_test_pairs_have_ids(folder):
    dev, test = read_pairs(folder, "dev"), read_pairs(folder, "test")
    assert len(dev) == 4 and sum(pair.same for pair in dev) == 2
    assert all(pair.same == (pair.baby_b == pair.baby_d) for pair in dev)
    assert {pair.same for pair in test} == {None}
    assert len({pair.trial_id for pair in test}) == len(test) == 16
    parts = {cry.baby_id: cry.part for cry in read_metadata(folder)}
    assert {parts[pair.baby_b] for pair in dev} == {"dev"}
    assert {parts[pair.baby_d] for pair in test} == {"test"}


def test_test_pairs_with_the_labels_of_after_the_challenge_are_read(folder):
    file = folder / cryceleb.PAIRS["test"]
    file.write_text("baby_id_B,baby_id_D,id,label\na,a,t1,1\na,b,t2,0\n")
    assert read_pairs(folder, "test") == [
        Pair("a", "a", True, "t1"),
        Pair("a", "b", False, "t2"),
    ]


def test_a_submission_has_the_form_and_order_of_the_sample(folder):
    pairs = read_pairs(folder, "test")
    scores = {pair.trial_id: index / 7 - 1 for index, pair in enumerate(reversed(pairs))}
    write_submission(folder / "mine.csv", pairs, scores)
    sample = list(csv.reader((folder / cryceleb.SAMPLE_SUBMISSION).open()))
    mine = list(csv.reader((folder / "mine.csv").open()))
    assert mine[0] == sample[0] == ["id", "score"]
    assert [row[0] for row in mine] == [row[0] for row in sample]
    assert {row[0]: float(row[1]) for row in mine[1:]} == scores


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores.popitem(), "has no finite score"),
        (lambda scores: scores.update({next(iter(scores)): float("nan")}), "no finite score"),
        (lambda scores: scores.update(other=0.0), "'other', which is no trial"),
    ],
)
def test_a_submission_that_would_be_rejected_is_not_written(change, message, folder):
    pairs = read_pairs(folder, "test")
    scores = {pair.trial_id: 0.5 for pair in pairs}
    change(scores)
    with pytest.raises(CorpusError, match=message):
        write_submission(folder / "mine.csv", pairs, scores)
    assert not Path(folder / "mine.csv").exists()


def test_all_of_it_is_gated_and_only_the_audio_is_packed():
    remotes = {remote.filename: remote for remote in corpora.get("cryceleb").remotes}
    assert set(remotes) == {
        "audio.zip",
        "metadata.csv",
        "dev_pairs.csv",
        "test_pairs.csv",
        "sample_submission.csv",
    }
    assert {remote.host for remote in remotes.values()} == {"huggingface"}
    assert [name for name, remote in remotes.items() if remote.unpack] == ["audio.zip"]
