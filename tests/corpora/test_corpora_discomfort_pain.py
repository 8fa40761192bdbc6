"""Discomfort and pain: infants, states and occasions out of names, or out of a table."""

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import Refused


def index(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"not read by the loader")
    return {e.source_path: e for e in corpora.get("discomfort_pain").index(folder)}


def known(entry):
    """Infant, state and occasion."""
    infant = entry.infant_id.removeprefix("discomfort_pain/")
    occasion = entry.session_id.removeprefix(f"{entry.infant_id}/{entry.category}")
    assert entry.details.cause == entry.category
    return infant, entry.category, occasion


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("b01_bath_3.wav", ("b01", "discomfort", "")),
        ("wavs/B01_Bain2_3.wav", ("b01", "discomfort", "2")),
        ("anna-lise_vaccination.wav", ("anna-lise", "pain", "")),
        ("12 discomfort 4.wav", ("12", "discomfort", "")),
        ("bath/b01_3.wav", ("b01", "discomfort", "")),
        ("set/Vaccine1/b01.wav", ("b01", "pain", "1")),
        ("pain/7_12.wav", ("7", "pain", "")),
        ("pain/b01_bath2_1.wav", ("b01", "discomfort", "2")),  # the file's own name goes first
    ],
)
def test_names_say_infant_state_and_occasion(path, expected, tmp_path):
    found = index(tmp_path, path, "x_bath_1.wav", "x_pain_1.wav")
    assert known(found[path]) == expected
    assert found[path].label == "cry"
    recordings = [entry.recording_id for entry in found.values()]
    assert len(set(recordings)) == len(recordings)  # an infant's cries are pairs of trials


def test_other_names_are_refused(tmp_path):
    found = index(tmp_path, "a_bath_1.wav", "a_pain_1.wav", "a_1.wav", "laugh/a_1.wav")
    refused = [path for path, entry in found.items() if isinstance(entry, Refused)]
    assert refused == ["a_1.wav", "laugh/a_1.wav"]


def test_a_state_that_is_missing_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"pain is missing.*INFANT_STATE_N\.wav"):
        index(tmp_path, "a_bath_1.wav", "b_bath_1.wav")


def write_table(folder, *rows):
    (folder / "infants.csv").write_text("path,infant,state,occasion\n" + "\n".join(rows) + "\n")


def test_a_table_goes_before_names(tmp_path):
    write_table(tmp_path, "one.wav,Ana,Bath,1", "in/two.wav,ana,pain,")
    found = index(tmp_path, "one.wav", "in/two.wav", "b_bath_1.wav")
    assert known(found["one.wav"]) == ("ana", "discomfort", "1")
    assert known(found["in/two.wav"]) == ("ana", "pain", "")
    assert "not in the table" in found["b_bath_1.wav"].reason


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["one.wav,a,sad,"], r"infants\.csv, line 2, column state: 'sad' is none of .*bath"),
        (["one.wav,,bath,"], r"line 2, column infant: is empty"),
        (["two.wav,a,bath,"], r"line 2, column path: two\.wav is missing"),
        (["../one.wav,a,bath,"], r"line 2, column path"),
        (["one.wav,a,bath,", "one.wav,b,bath,"], r"line 3, column path: one\.wav is listed twice"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(rows, message, tmp_path):
    write_table(tmp_path, *rows)
    with pytest.raises(CorpusError, match=message):
        index(tmp_path, "one.wav")
