"""EnesBabyCries: what its names say, and that a cry stays with its bout."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crywatch import corpora
from crywatch.core.errors import CorpusError
from crywatch.corpora import Refused
from crywatch.corpora.enesbabycries import parse
from tests.helpers.generated import generated

BOUT = "BM29_M_2_F_I_10102019_2058"  # of the publisher's own scripts, but for the second cause


def put(folder, *paths):
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"not read by the loader")
    return {e.source_path: e for e in corpora.get("enesbabycries").index(folder)}


def test_a_bout_and_its_cry_are_one_recording(tmp_path):
    paths = (f"1A_bouts/{BOUT}.wav", f"1B_cries/deep/{BOUT}_1250-2310.wav")
    found = put(tmp_path, *paths)
    bout, cry = (found[path] for path in paths)
    assert bout.recording_id == cry.recording_id == f"enesbabycries/{BOUT}"
    assert (bout.details.kind, cry.details.kind) == ("bout", "cry")
    for clip in (bout, cry):
        assert clip.infant_id == "enesbabycries/BM29"
        assert clip.session_id == "enesbabycries/BM29/2019-10-10"
        assert clip.recorded_at == datetime(2019, 10, 10, 18, 58, tzinfo=UTC)  # summer in France
        assert (clip.label, clip.category) == ("cry", "discomfort")
        assert clip.details.cause_parent == "hunger"
        assert (clip.details.sex, clip.details.age_round) == ("m", "2")
        assert clip.details.age_months == 1.5


def test_the_segment_is_in_milliseconds_of_the_bout():
    name = parse(f"1B_cries/{BOUT}_1250-2310.wav")
    assert (name.start_ms, name.end_ms, name.bout) == (1250, 2310, BOUT)
    name = parse(f"1A_bouts/{BOUT}.wav")
    assert (name.start_ms, name.end_ms, name.bout) == (None, None, BOUT)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("F", "hunger"),
        ("I", "discomfort"),
        ("S", "isolation"),
        ("D", "pain"),
        ("N", "unknown"),
        ("FI", "hunger"),
        ("sf", "isolation"),
        ("SOIR", "other"),
        ("X", "other"),
    ],
)
def test_the_first_letter_of_a_cause_counts(code, cause):
    assert parse(f"BM01_F_1_F_{code}_01022020_0005.wav").cause_stop == cause


@pytest.mark.parametrize(("code", "sex"), [("M", "m"), ("F", "f"), ("W", "f"), ("w", "f")])
def test_girls_are_f_or_w(code, sex):
    assert parse(f"BM01_{code}_4_F_F_01022020_0005.wav").sex == sex


def test_the_night_belongs_to_its_calendar_day_at_home(tmp_path):
    path = "1A_bouts/BM01_F_1_F_F_01022020_0005.wav"
    clip = put(tmp_path, path)[path]
    assert clip.recorded_at == datetime(2020, 1, 31, 23, 5, tzinfo=UTC)
    assert clip.session_id.endswith("/2020-02-01")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cry.wav", "baby_sex_ageRound"),
        ("BM29_M_2_F_F_10102019.wav", "baby_sex_ageRound"),
        ("BM29_X_2_F_F_10102019_2058.wav", "baby_sex_ageRound"),
        ("BM29_M_2_F_F_20191010_2058.wav", "20191010_2058 is no date"),
        ("BM29_M_2_F_F_10102019_2558.wav", "no date and time"),
        ("BM29_M_2_F_F_10102019_2058_0-900.wav", "by its name not a bout"),
    ],
)
def test_names_out_of_form_are_refused(name, reason, tmp_path):
    (entry,) = put(tmp_path, f"1A_bouts/{name}").values()
    assert isinstance(entry, Refused) and reason in entry.reason


def test_a_segment_that_ends_before_it_starts_is_told():
    with pytest.raises(CorpusError, match="ends before it starts"):
        parse(f"{BOUT}_900-900.wav")


def test_the_cries_alone_are_enough_and_neither_is_an_error(tmp_path):
    generated("enesbabycries", tmp_path / "all", seed=3, infants=1)
    (tmp_path / "all" / "1A_bouts").rename(tmp_path / "bouts")
    clips = list(corpora.get("enesbabycries").index(tmp_path / "all"))
    assert len(clips) == 12 and {clip.details.kind for clip in clips} == {"cry"}
    (tmp_path / "all" / "1B_cries").rename(tmp_path / "cries")
    with pytest.raises(CorpusError, match="1A_bouts is missing"):
        list(corpora.get("enesbabycries").index(tmp_path / "all"))


def test_generated_segments_lie_in_their_bout(tmp_path):
    generated("enesbabycries", tmp_path, seed=3, infants=1)
    corpus = corpora.get("enesbabycries")
    clips = list(corpus.index(tmp_path))
    seconds = {}
    for clip in clips:
        sound = corpus.load(tmp_path, clip)
        seconds[clip.source_path] = len(sound.wave) / sound.rate_hz
    for clip in (clip for clip in clips if clip.details.kind == "cry"):
        name = parse(clip.source_path)
        length = seconds[clip.source_path]
        assert length == pytest.approx((name.end_ms - name.start_ms) / 1e3, abs=0.01)
        assert name.end_ms / 1e3 <= seconds[f"1A_bouts/{Path(name.bout).name}.wav"]
