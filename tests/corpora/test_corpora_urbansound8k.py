"""UrbanSound8K: recordings and classes off its table, and a table that cannot be right."""

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import ClipEntry, Refused, urbansound8k
from crywatch.corpora.terms import terms_of

HEAD = ",".join(urbansound8k.COLUMNS)
ROW = "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark"


def put(folder, *rows, files=(ROW,)):
    table = folder / urbansound8k.META
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join([HEAD, *rows]) + "\n")
    for row in files:
        name, _, _, _, _, fold, *_ = row.split(",")
        path = folder / urbansound8k.ROOT / "audio" / f"fold{fold}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not read by the loader")
    return list(corpora.get("urbansound8k").index(folder))


def test_slices_of_a_freesound_recording_are_one_recording_as_in_esc50(tmp_path):
    second = ROW.replace("-0-0.wav", "-0-1.wav")
    found = put(tmp_path, ROW, second, files=(ROW, second))
    assert all(isinstance(entry, ClipEntry) for entry in found)
    assert {e.recording_id for e in found} == {"freesound/100032"}
    assert {(e.label, e.category) for e in found} == {("other", "dog_bark")}
    assert [e.source_path for e in found] == [
        f"UrbanSound8K/audio/fold5/100032-3-0-{part}.wav" for part in (0, 1)
    ]


def test_files_and_table_that_disagree_are_refused(tmp_path):
    stray = ROW.replace(",5,3,", ",6,3,")
    found = put(tmp_path, ROW, ROW.replace("-0-0.wav", "-0-9.wav"), files=(ROW, stray))
    reasons = {e.source_path: e.reason for e in found if isinstance(e, Refused)}
    assert len(found) == 3
    assert "missing" in reasons["UrbanSound8K/audio/fold5/100032-3-0-9.wav"]
    assert "not listed" in reasons["UrbanSound8K/audio/fold6/100032-3-0-0.wav"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW, r"UrbanSound8K\.csv, line 3, column slice_file_name: .* is listed twice"),
        (ROW.replace(",5,3,", ",11,3,"), r"line 3, column fold: '11' is none of 1 to 10"),
        (
            ROW.replace("-0-0.wav", "-0-1.wav").replace(",dog_bark", ","),
            r"line 3, column class: is empty",
        ),
        (ROW.replace("-0-0.wav,100032", "-0-1.wav,100033"), r"line 3, column fsID: '100033'"),
        (f"../../../{ROW}", r"line 3, column slice_file_name"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(tmp_path, row, message):
    with pytest.raises(CorpusError, match=message):
        put(tmp_path, ROW, row)


def test_what_heard_it_may_not_be_sold():
    assert not terms_of(["urbansound8k"]).commercial_use
