"""The user's own recordings: the table's columns, its errors, and sessions."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError, CrywatchError
from crywatch.corpora import Refused


@pytest.fixture
def own(tmp_path):
    """Index a folder with the files a.wav, b.wav and night 1/ü.m4a and a given table."""
    for name in ("a.wav", "b.wav", "night 1/ü.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not read by the loader")

    def index(table, encoding="utf-8"):
        (tmp_path / "recordings.csv").write_bytes(table.encode(encoding))
        return {e.source_path: e for e in corpora.get("recordings").index(tmp_path)}

    return index


def test_the_path_alone_is_enough(own):
    found = own("path\na.wav\nnight 1/ü.m4a\n")
    clip = found["night 1/ü.m4a"]
    assert (clip.label, clip.category) == ("unknown", "unknown")
    assert clip.infant_id is None and clip.session_id is None and clip.recorded_at is None
    assert isinstance(found["b.wav"], Refused)
    assert found["b.wav"].reason == "not listed in recordings.csv"


def test_all_columns_in_any_order(own):
    found = own(
        "infant,recorded_at,label,category,path\n"
        "Mia,2025-03-31T04:30:00+02:00,cry,first tooth,a.wav\n"
        ",2025-03-31,Other,,b.wav\n"
        "Mia,,,,night 1\\ü.m4a\n"
    )
    mia, other, undated = (found[name] for name in ("a.wav", "b.wav", "night 1/ü.m4a"))
    assert (mia.label, mia.infant_id) == ("cry", "recordings/infant 01")
    assert (mia.category, other.category) == ("first tooth", "other")
    assert mia.recorded_at == datetime(2025, 3, 31, 2, 30, tzinfo=UTC)
    assert other.label == "other" and other.infant_id is None and other.session_id is None
    assert other.recorded_at == datetime(2025, 3, 31, tzinfo=UTC)
    assert undated.infant_id == mia.infant_id
    assert undated.session_id == "recordings/infant 01/undated"


def test_recordings_six_hours_apart_are_two_sessions(own):
    found = own(
        "path,infant,recorded_at\n"
        "b.wav,Mia,2025-03-31T10:00\n"
        "a.wav,Mia,2025-03-31T04:00\n"
        "night 1/ü.m4a,Mia,2025-03-31T09:59\n"
    )
    assert found["a.wav"].session_id == found["night 1/ü.m4a"].session_id
    assert found["b.wav"].session_id == found["a.wav"].session_id  # a minute after ü
    found = own("path,infant,recorded_at\nb.wav,Mia,2025-03-31T10:00\na.wav,Mia,2025-03-31T04:00\n")
    assert found["a.wav"].session_id == "recordings/infant 01/000"
    assert found["b.wav"].session_id == "recordings/infant 01/001"


NAMED = (
    "path,infant,recorded_at,category\n"
    "b.wav,Noé,2025-03-31T10:00,noé and MIA\n"
    "Mia/mia_01 Miami.wav,Mia,2025-03-31T04:00,\n"
    "night 1/ü.m4a,Mia,,7\n"
)


def test_an_infant_is_a_number_and_its_name_stands_nowhere_but_in_the_path(own, tmp_path):
    (tmp_path / "Mia").mkdir()
    (tmp_path / "Mia" / "mia_01 Miami.wav").touch()
    found = own(NAMED)
    noe, mia = found["b.wav"], found["Mia/mia_01 Miami.wav"]
    assert (noe.infant_id, mia.infant_id) == ("recordings/infant 01", "recordings/infant 02")
    assert noe.category == "infant 01 and infant 02" and noe.title == ""
    assert mia.recording_id == "recordings/infant 02/infant 02_01 Miami.wav"
    assert mia.title == "infant 02_01 Miami"
    for entry in found.values():
        shown = repr(replace(entry, source_path="")).replace("Miami", "")
        assert "mia" not in shown.lower() and "noé" not in shown.lower()


def test_rows_that_are_added_change_no_number(own):
    first = own(NAMED.replace("Mia/mia_01 Miami.wav", "a.wav"))
    rows = NAMED.replace("Mia/mia_01 Miami.wav", "a.wav").replace("night 1/ü.m4a,Mia", "a.wav,Ada")
    assert first["a.wav"].infant_id == "recordings/infant 02"
    more = own(rows.replace("a.wav,Ada", "night 1/ü.m4a,Ada"))
    assert more["a.wav"].infant_id == first["a.wav"].infant_id
    assert more["night 1/ü.m4a"].infant_id == "recordings/infant 03"


def test_digits_and_single_letters_name_nobody(own):
    found = own("path,infant,category\na.wav,a,a 7\nb.wav,7,7 a\n")
    assert found["a.wav"].recording_id == "recordings/a.wav" and found["a.wav"].title == ""
    assert found["b.wav"].category == "7 a" and found["b.wav"].infant_id == "recordings/infant 02"


@pytest.mark.parametrize(
    ("table", "encoding"),
    [
        ("path;label\r\na.wav;cry\r\n", "utf-8"),
        ("path;label\na.wav;cry\n", "utf-8-sig"),
        ("path,label\n\n a.wav , cry \n,\n", "utf-8"),
        ('path,label,\n"a.wav","cry",\n', "utf-8"),
    ],
)
def test_tables_as_spreadsheets_write_them(table, encoding, own):
    found = own(table, encoding)
    assert found["a.wav"].label == "cry"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path\na.wav\nc.wav\n", "line 3, column path: there is no file 'c.wav'"),
        ("path\n/etc/passwd.wav\n", "line 2, column path: '/etc/passwd.wav' must lie below"),
        ("path\n../a.wav\n", "line 2, column path: '../a.wav' must lie below"),
        ("path\nC:\\a.wav\n", "line 2, column path: .* must lie below"),
        ("path\nrecordings.csv\n", "line 2, column path: .* is not an audio file"),
        ("path\na.wav\n./a.wav\n", "line 3, column path: 'a.wav' stands in line 2 already"),
        ("path,label\n,cry\n", "line 2, column path: is empty"),
        ("path\n.\n", r"line 2, column path: '\.' is no name of a file"),
        (f"path\n{'ü' * 126}.wav\n", "line 2, column path: .* is no name of a file"),
        ("path,label\na.wav,crying\n", "line 2, column label: 'crying' is none of cry, other"),
        ("path,recorded_at\na.wav,31.3.2025\n", "line 2, column recorded_at: '31.3.2025'"),
        ("path,recorded_at\na.wav,0025-03-31\n", "line 2, column recorded_at: .* of the year 25"),
        ("path,recorded_at\na.wav,9999-12-31\n", "line 2, column recorded_at: .* year 9999"),
        ("file,label\na.wav,cry\n", r"line 1: column\(s\) path are missing; there are: file"),
        ("path,lable\na.wav,cry\n", "line 1: column 'lable' is unknown; there can be path"),
        ("path,label\na.wav,cry,Mia\n", "line 2: more cells than the header has columns"),
        ("", r"line 1: column\(s\) path are missing; there are: none"),
    ],
)
def test_an_error_names_file_row_and_column(table, message, own):
    with pytest.raises(CorpusError, match=rf"recordings\.csv, {message}"):
        own(table)


def test_a_time_in_a_name_is_no_drive(own, tmp_path):
    (tmp_path / "2025-03-31 04:30.wav").write_bytes(b"not read by the loader")
    assert own("path\n2025-03-31 04:30.wav\n")["2025-03-31 04:30.wav"].label == "unknown"


def test_a_table_in_another_encoding_is_told(own):
    with pytest.raises(CorpusError, match=r"recordings\.csv: not UTF-8"):
        own("path\nnight 1/ü.m4a\n", "latin-1")


def test_a_folder_without_a_table_says_what_is_wanted(tmp_path):
    with pytest.raises(CorpusError, match=r"recordings\.csv is missing.*only path is required"):
        list(corpora.get("recordings").index(tmp_path))


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("to_folder", [True, False])
def test_a_link_that_leads_out_of_the_folder_is_refused_as_dots_are(
    own, tmp_path, tmp_path_factory, listed, to_folder
):
    beside = tmp_path_factory.mktemp("beside")
    (beside / "c.wav").write_bytes(b"another's")
    (tmp_path / "within.wav").symlink_to(tmp_path / "a.wav")
    assert "within.wav" in own("path\na.wav\nwithin.wav\n")
    name = "night/c.wav" if to_folder else "c.wav"
    (tmp_path / name.split("/")[0]).symlink_to(beside if to_folder else beside / "c.wav")
    told = f"line 3, column path: '{name}' must lie below" if listed else "a link leads out"
    with pytest.raises(CrywatchError, match=told):
        own(f"path\na.wav\n{name}\n" if listed else "path\na.wav\n")


NFC, NFD = (unicodedata.normalize(form, "Zoé") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("on_disk", "listed"), [(NFC, NFD), (NFD, NFC)])
def test_a_file_and_an_infant_in_another_spelling_of_accents_are_the_same(
    own, tmp_path, on_disk, listed
):
    for name in ("1", "2"):
        (tmp_path / on_disk).mkdir(exist_ok=True)
        (tmp_path / on_disk / f"{on_disk} {name}.wav").touch()
    table = f"path,infant\n{listed}/{listed} 1.wav,{listed}\n{on_disk}/{on_disk} 2.wav,{on_disk}\n"
    found = own(table)
    clips = [entry for entry in found.values() if not isinstance(entry, Refused)]
    assert len(clips) == 2 and {clip.infant_id for clip in clips} == {"recordings/infant 01"}
    for clip in clips:
        assert (tmp_path / clip.source_path).is_file()
        assert "Zo" not in clip.recording_id + clip.title + clip.category
    with pytest.raises(CorpusError, match="line 4, column path: .* stands in line 2 already"):
        own(f"{table}{on_disk}/{on_disk} 1.wav,\n")


def test_the_content_makes_a_recording_of_any_name(own, tmp_path):
    (tmp_path / "camera.ts").write_bytes((b"G" + bytes(187)) * 3)
    (tmp_path / "code.ts").write_text("export const x = 1;\n" * 30)
    (tmp_path / "nameless").write_bytes(b"OggS\0" + bytes(50))
    found = own("path\ncamera.ts\nnameless\n")
    assert [name for name, entry in found.items() if not isinstance(entry, Refused)] == [
        "camera.ts",
        "nameless",
    ]
    assert "code.ts" not in found
    with pytest.raises(CorpusError, match="line 2, column path: 'code.ts' is not an audio file"):
        own("path\ncode.ts\n")
