"""The loaders' contract, what each reads off its publisher's names, and the generator."""

import csv
import os
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from crywatch import corpora
from crywatch.audio import decode as audio
from crywatch.audio.waves.cleaned import to_int16
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, CorpusError
from crywatch.core.names import AUDIO_SUFFIXES
from crywatch.core.paths import MISSING_NOTE
from crywatch.corpora import ClipEntry, Refused, baby_cry_detection, donateacry, esc50
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.generate.files import encode
from crywatch.corpora.generate.freesound import CLASSES as ESC50_CLASSES
from crywatch.data.tables import LABELS

TINY = GeneratorConfig(
    seed=3,
    esc50_clips_per_class=2,
    baby_cry_detection_clips_per_class=6,
    donateacry_infants=2,
    donateacry_sessions=2,
    other_infants=2,
)
ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("CRYWATCH_CORPORA", ROOT.parent / "shared" / "corpora"))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no corpora at {REAL}")

INSTANCE = "0d1ad73e-4c5e-45f3-85c4-9a3cb71e8856"
HOUR_S = 3600


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """All generated corpora, one folder each. Read only: tests that change files take `a_copy`."""
    folder = tmp_path_factory.mktemp("generated")
    for name in corpora.NAMES:
        generate(name, folder / name, TINY)
    return folder


@pytest.fixture
def a_copy(generated, tmp_path):
    return lambda name: Path(shutil.copytree(generated / name, tmp_path / name))


def index(name, folder):
    found = list(corpora.get(name).index(folder))
    clips = [entry for entry in found if isinstance(entry, ClipEntry)]
    refused = [entry for entry in found if isinstance(entry, Refused)]
    assert len(clips) + len(refused) == len(found)
    return clips, refused


def put(folder, path, content=b"not read by the loaders"):
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


# The contract, for every corpus


def test_an_unknown_corpus_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'urbansound' is unknown.*esc50.*donateacry"):
        corpora.get("urbansound")


@pytest.mark.parametrize("name", corpora.NAMES)
def test_every_corpus_says_where_it_is_from(name):
    corpus = corpora.get(name)
    assert corpus.name == name
    assert all((corpus.citation, corpus.licence, corpus.terms))
    assert isinstance(corpus.commercial_use, bool)
    # what can be fetched has a page; what cannot says how to come by it
    assert corpus.homepage.startswith("https://") or not corpus.remotes
    assert corpus.remotes or f"corpus.{name}.folder=" in corpus.obtain
    for remote in corpus.remotes:
        assert remote.url.startswith("https://")
        assert remote.filename and "/" not in remote.filename
        assert remote.sha256 is None or len(remote.sha256) == 64
        assert remote.host in ("", "huggingface", "osf")
    assert len({remote.filename for remote in corpus.remotes}) == len(corpus.remotes)


@pytest.mark.parametrize("name", corpora.NAMES)
def test_the_index_keeps_its_contract(name, generated):
    clips, refused = index(name, generated / name)
    assert clips and not refused
    paths = [clip.source_path for clip in clips]
    assert len(set(paths)) == len(paths)
    assert all((generated / name / path).is_file() for path in paths)
    assert all("\\" not in path and not path.startswith("/") for path in paths)
    assert {clip.label for clip in clips} <= set(LABELS)
    assert all(clip.category and clip.recording_id and clip.licence for clip in clips)
    assert all(clip.recorded_at is None or clip.recorded_at.tzinfo for clip in clips)
    assert all((clip.infant_id is None) == (clip.session_id is None) for clip in clips)
    # every audio file of the folder is in the index
    files = [p for p in (generated / name).rglob("*") if p.suffix in AUDIO_SUFFIXES]
    assert len(files) == len(clips)
    # a second reading gives the same, in the same order
    assert index(name, generated / name)[0] == clips
    # recordings and infants are named so that no other corpus can have the same by chance
    owners = (*corpora.NAMES, "freesound", "youtube")
    assert {clip.recording_id.partition("/")[0] for clip in clips} <= set(owners)
    assert {clip.infant_id.partition("/")[0] for clip in clips if clip.infant_id} <= set(owners)
    # an infant's recording is one infant's, and a session too
    for key in ("recording_id", "session_id"):
        pairs = {(getattr(c, key), c.infant_id) for c in clips if c.infant_id}
        assert len(pairs) == len({value for value, _ in pairs})
    for clip in clips:
        assert all(0 <= event.onset_s < event.offset_s for event in clip.events)
        assert clip.label == "cry" or not any(event.label == "cry" for event in clip.events)


@pytest.mark.parametrize("name", corpora.NAMES)
def test_every_clip_loads(name, generated):
    corpus = corpora.get(name)
    for clip in index(name, generated / name)[0][::5]:
        sound = corpus.load(generated / name, clip)
        assert sound.rate_hz >= 8000 and np.abs(sound.wave).max() > 0
        assert all(event.offset_s <= len(sound.wave) / sound.rate_hz for event in clip.events)


@pytest.mark.parametrize("name", corpora.NAMES)
def test_a_folder_without_the_layout_is_refused_with_what_is_missing(name, tmp_path):
    corpus = corpora.get(name)
    with pytest.raises(CorpusError, match="is missing") as caught:
        list(corpus.index(tmp_path))
    assert (corpus.homepage or corpus.obtain) in str(caught.value)


@pytest.mark.parametrize("name", corpora.NAMES)
def test_a_corpus_that_was_allowed_to_be_missing_has_no_clips(name, tmp_path):
    put(tmp_path, MISSING_NOTE)
    assert list(corpora.get(name).index(tmp_path)) == []


@pytest.mark.parametrize("name", corpora.NAMES)
def test_files_that_are_no_recordings_are_passed_over(name, a_copy, generated):
    folder = a_copy(name)
    for file in sorted(folder.rglob("*")):
        if file.is_dir():
            for stray in ("_DS_Store", ".DS_Store", "README.md", "._hidden.wav"):
                (file / stray).write_bytes(b"x")
    stray_free = [e for e in index(name, folder)[1] if "._hidden" not in e.source_path]
    assert index(name, folder)[0] == index(name, generated / name)[0]
    assert stray_free == []


# ESC-50


def test_esc50_reads_labels_recordings_and_licences_off_its_table(a_copy):
    folder = a_copy("esc50")
    rows = list(csv.reader((folder / esc50.META).read_text().splitlines()))
    column = rows[0].index("esc10")
    for row in rows[1:]:
        row[column] = str(row[0].endswith("-0.wav"))  # only the dogs
    (folder / esc50.META).write_text("\n".join(map(",".join, rows)) + "\n")
    clips, _ = index("esc50", folder)
    assert len(clips) == 2 * len(ESC50_CLASSES)
    for clip in clips:
        fold, src, take, target = Path(clip.source_path).stem.split("-")
        assert clip.label == ("cry" if target == "20" else "other")
        assert (clip.category == "crying_baby") == (target == "20")
        assert clip.recording_id == f"freesound/{src}"
        assert clip.licence == ("CC BY 3.0" if target == "0" else "CC BY-NC 3.0")
    takes = Counter(clip.recording_id for clip in clips)
    assert set(takes.values()) == {2}  # two takes a recording stay together


def test_esc10_reads_only_the_subset_of_a_folder_of_esc50(a_copy):
    folder = a_copy("esc50")
    rows = list(csv.reader((folder / esc50.META).read_text().splitlines()))
    column = rows[0].index("esc10")
    for row in rows[1:]:
        row[column] = str(row[0].endswith(("-0.wav", "-20.wav")))  # dogs and infants
    (folder / esc50.META).write_text("\n".join(map(",".join, rows)) + "\n")
    clips, refused = index("esc10", folder)
    assert not refused
    assert {(clip.category, clip.label) for clip in clips} == {
        ("dog", "other"),
        ("crying_baby", "cry"),
    }
    assert {clip.licence for clip in clips} == {"CC BY 3.0"}


def test_esc50_files_and_table_that_disagree_are_refused(a_copy):
    folder = a_copy("esc50")
    put(folder, f"{esc50.ROOT}/audio/1-99999-A-7.wav")
    gone = sorted((folder / esc50.ROOT / "audio").glob("*-20.wav"))[0]
    gone.unlink()
    clips, refused = index("esc50", folder)
    assert len(clips) == 2 * len(ESC50_CLASSES) - 1
    reasons = {Path(entry.source_path).name: entry.reason for entry in refused}
    assert "missing" in reasons[gone.name]
    assert "not listed" in reasons["1-99999-A-7.wav"]


def test_esc50_table_without_a_column_is_named(a_copy):
    folder = a_copy("esc50")
    table = (folder / esc50.META).read_text().replace("src_file", "source", 1)
    (folder / esc50.META).write_text(table)
    with pytest.raises(CorpusError, match=r"esc50\.csv.*src_file"):
        index("esc50", folder)


def test_esc50_table_with_a_broken_row_is_named(a_copy):
    folder = a_copy("esc50")
    table = (folder / esc50.META).read_text().replace(",20,crying_baby", ",twenty,crying_baby", 1)
    (folder / esc50.META).write_text(table)
    with pytest.raises(CorpusError, match=r"esc50\.csv.*twenty"):
        index("esc50", folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name},1,20,x,True,1,A", r"line \d+: {name} is listed twice"),
        ("../../{name},1,20,x,True,1,A", r"line \d+: filename .* leads to another folder"),
        ("x.wav,1,20", r"line \d+: category, esc10, src_file, take is empty"),
        (",1,20,x,True,1,A", r"line \d+: filename is empty"),
    ],
)
def test_esc50_row_that_cannot_be_right_is_named(a_copy, row, message):
    folder = a_copy("esc50")
    name = sorted(path.name for path in (folder / esc50.ROOT / "audio").iterdir())[0]
    with open(folder / esc50.META, "a") as table:
        table.write(row.format(name=name) + "\n")
    with pytest.raises(CorpusError, match=r"esc50\.csv, " + message.replace("{name}", name)):
        index("esc50", folder)


def test_esc50_table_with_a_byte_order_mark_is_read(a_copy):
    folder = a_copy("esc50")
    before = index("esc50", folder)
    (folder / esc50.META).write_bytes(b"\xef\xbb\xbf" + (folder / esc50.META).read_bytes())
    assert index("esc50", folder) == before


def test_esc50_table_in_another_encoding_is_named(a_copy):
    folder = a_copy("esc50")
    with open(folder / esc50.META, "ab") as table:
        table.write(b"caf\xe9.wav,1,20,x,True,1,A\n")
    with pytest.raises(CorpusError, match=r"esc50\.csv: not UTF-8"):
        index("esc50", folder)


# baby_cry_detection


def bcd(folder, *names):
    for directory in baby_cry_detection.CLASSES:
        (folder / baby_cry_detection.ROOT / directory).mkdir(parents=True, exist_ok=True)
    for name in names:
        put(folder, f"{baby_cry_detection.ROOT}/{name}")
    clips, refused = index("baby_cry_detection", folder)
    return {Path(clip.source_path).name: clip for clip in clips}, refused


def test_baby_cry_detection_reads_classes_and_sources_off_its_names(tmp_path):
    clips, refused = bcd(
        tmp_path,
        "301 - Crying baby/1-187207-A.ogg",
        "301 - Crying baby/1-187207-B.ogg",
        "301 - Crying baby/margot.m4a_3.wav",
        "301 - Crying baby/margot.m4a_12.wav",
        "301 - Crying baby/V_2017-04-01+08_06_22=0_30.mp3_25.wav",
        "901 - Silence/silence.wav_0.wav",
        "902 - Noise/1-100032-A-0.ogg",
        "902 - Noise/1-34094-B.ogg",
        "902 - Noise/1-17367-A.ogg",
        "903 - Baby laugh/laugh_1.m4a_0.wav",
        "903 - Baby laugh/margot.m4a_3.wav.wav",
    )
    assert refused == []
    recordings = {name: clip.recording_id for name, clip in clips.items()}
    assert recordings["1-187207-A.ogg"] == "freesound/187207"  # as in ESC-50
    assert recordings["1-187207-B.ogg"] == "freesound/187207"
    assert recordings["1-100032-A-0.ogg"] == "freesound/100032"
    assert recordings["margot.m4a_3.wav"] == recordings["margot.m4a_12.wav"]
    assert recordings["margot.m4a_3.wav"] != recordings["margot.m4a_3.wav.wav"]  # another class
    assert recordings["V_2017-04-01+08_06_22=0_30.mp3_25.wav"].endswith("08_06_22=0_30.mp3")
    assert recordings["silence.wav_0.wav"].endswith("silence.wav")
    assert recordings["laugh_1.m4a_0.wav"].endswith("laugh_1.m4a")
    assert clips["margot.m4a_3.wav"].label == "cry"
    others = {
        "silence.wav_0.wav": "silence",
        "1-100032-A-0.ogg": "dog",  # its class in ESC-50
        "1-34094-B.ogg": "cat",
        "1-17367-A.ogg": "noise",  # no source of the published noises
        "laugh_1.m4a_0.wav": "baby_laugh",
    }
    assert {name: clips[name].category for name in others} == others
    assert {clips[name].label for name in others} == {"other"}


def test_baby_cry_detection_cries_of_esc50_are_the_same_recordings(generated):
    esc = {c.recording_id for c in index("esc50", generated / "esc50")[0] if c.label == "cry"}
    clips, _ = index("baby_cry_detection", generated / "baby_cry_detection")
    shared = [c for c in clips if c.label == "cry" and c.source_path.endswith(".ogg")]
    assert shared and {clip.recording_id for clip in shared} <= esc


def test_baby_cry_detection_folder_of_another_class_is_refused(tmp_path):
    _, refused = bcd(tmp_path, "904 - Adult/x.wav")
    assert [entry.source_path for entry in refused] == [
        f"{baby_cry_detection.ROOT}/904 - Adult/x.wav"
    ]
    assert "904 - Adult" in refused[0].reason


# Donate-a-cry


def stem(epoch, instance=INSTANCE, version="1.7", reason="hu"):
    return f"{instance}-{epoch}-{version}-m-04-{reason}"


def uploads(folder, *names):
    for directory in (donateacry.CLEANED, *donateacry.RAW):
        (folder / directory).mkdir(parents=True, exist_ok=True)
    for name in names:
        put(folder, name)
    return index("donateacry", folder)


def test_donateacry_time_is_in_seconds_on_ios_and_milliseconds_on_android(tmp_path):
    android, ios = donateacry.RAW
    clips, _ = uploads(
        tmp_path, f"{android}/{stem(1430218353124)}.3gp", f"{ios}/{stem(1430218353)}.caf"
    )
    times = {Path(c.source_path).suffix: c.recorded_at for c in clips}
    assert times[".3gp"] == datetime(2015, 4, 28, 10, 52, 33, 124000, tzinfo=UTC)
    assert times[".caf"] == datetime(2015, 4, 28, 10, 52, 33, tzinfo=UTC)


def test_donateacry_labels_the_cleaned_set_only(tmp_path):
    android, ios = donateacry.RAW
    name = stem(1430218353124, reason="ti")
    clips, refused = uploads(
        tmp_path,
        f"{donateacry.CLEANED}/belly_pain/{name}.wav",
        f"{android}/{name}.3gp",
        f"{ios}/{stem(1430999999, reason='lo')}.caf",
        f"{ios}/README",
        f"{ios}/_DS_Store",
    )
    assert refused == []
    by_top = {clip.source_path.split("/")[1]: clip for clip in clips}
    cleaned, raw, apple = (by_top[p.split("/")[1]] for p in (donateacry.CLEANED, android, ios))
    assert (cleaned.label, cleaned.category) == ("cry", "belly_pain")  # the folder, not the tag
    assert (raw.label, raw.category) == ("unknown", "tired")
    assert (apple.label, apple.category) == ("unknown", "lonely")
    assert cleaned.recording_id == raw.recording_id != apple.recording_id
    assert cleaned.session_id == raw.session_id != apple.session_id
    assert {clip.infant_id for clip in clips} == {f"donateacry/{INSTANCE}"}


def test_donateacry_sessions_end_with_a_gap_of_six_hours(tmp_path):
    start = 1_430_000_000
    other = INSTANCE.replace("0d1a", "1d1a")
    # 5 h 59 min after the one before each: one session, however long it gets; then a gap.
    times = [start, start + 6 * HOUR_S - 60, start + 12 * HOUR_S - 120, start + 18 * HOUR_S]
    folder = donateacry.RAW[1]
    clips, _ = uploads(
        tmp_path,
        *(f"{folder}/{stem(t)}.caf" for t in times),
        f"{folder}/{stem(start, INSTANCE.upper(), reason='bu')}.caf",
        f"{folder}/{stem(start, other)}.caf",
    )
    first, *_ = sessions = [
        next(c.session_id for c in clips if c.source_path.endswith(f"{stem(t)}.caf")) for t in times
    ]
    assert sessions[:3] == [first] * 3
    assert sessions[3] != first
    upper = next(c for c in clips if INSTANCE.upper() in c.source_path)
    assert upper.session_id == first  # the case of an instance means nothing
    infants = {c.infant_id for c in clips}
    assert len(infants) == 2 and len({c.session_id for c in clips}) == 3


@pytest.mark.parametrize(
    "name",
    [
        "cry.caf",
        f"{INSTANCE}-143-1.0-m-04-hu.caf",
        f"{INSTANCE}-1426957748.47029-1-{INSTANCE.upper()}-f-26-ti.caf.caf",  # one on disk
        f"{INSTANCE}-1430218353-1.0-x-04-hu.caf",
        f"{INSTANCE[:-1]}-1430218353-1.0-m-04-hu.caf",
    ],
)
def test_donateacry_names_out_of_form_are_refused(name, tmp_path):
    clips, refused = uploads(tmp_path, f"{donateacry.RAW[1]}/{name}")
    assert clips == []
    assert refused[0].source_path.endswith(name) and "instance-epoch" in refused[0].reason


# Audio files outside the layout


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("esc50", f"{esc50.ROOT}/audio/1-99999-A-7.ogg"),
        ("baby_cry_detection", f"{baby_cry_detection.ROOT}/stray.wav"),
        ("baby_cry_detection", f"{baby_cry_detection.ROOT}/901 - Silence/deeper/stray.wav"),
        ("donateacry", f"{donateacry.CLEANED}/{stem(1430218353)}.wav"),  # not in a reason
    ],
)
def test_an_audio_file_that_the_layout_does_not_explain_is_refused(name, path, a_copy):
    folder = a_copy(name)
    before = index(name, folder)[0]
    put(folder, path)
    clips, refused = index(name, folder)
    assert [entry.source_path for entry in refused] == [path]
    assert clips == before


# The generator


@pytest.mark.parametrize("name", corpora.NAMES)
def test_the_same_seed_gives_the_same_bytes(name, generated, tmp_path):
    generate(name, tmp_path / "again", TINY)
    assert files_sha256([tmp_path / "again"]) == files_sha256([generated / name])


def test_another_seed_gives_other_sounds(generated, tmp_path):
    config = GeneratorConfig(4, 2, 6, 2, 2)
    generate("esc50", tmp_path, config)
    first = sorted((generated / "esc50").rglob("*.wav"))
    second = sorted(tmp_path.rglob("*.wav"))
    assert [p.name for p in first] == [p.name for p in second]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("name", "suffix", "rate_hz", "seconds"),
    [
        ("esc50", ".wav", 44_100, 5.0),
        ("baby_cry_detection", ".ogg", 22_050, 5.0),
        ("baby_cry_detection", ".wav", 22_050, 5.0),
        ("donateacry", ".wav", 8_000, 7.0),
        ("donateacry", ".3gp", 8_000, 7.0),
        ("donateacry", ".caf", 8_000, 7.0),
    ],
)
def test_generated_files_decode_at_the_publishers_rates_and_lengths(
    name, suffix, rate_hz, seconds, generated
):
    files = sorted((generated / name).rglob(f"*{suffix}"))
    assert files
    decoded = audio.decode(files[0])
    assert decoded.rate_hz == rate_hz
    # AAC pads to whole frames of 1,024 samples, at both ends
    assert len(decoded.wave) / rate_hz == pytest.approx(seconds, abs=0.3)
    assert np.isfinite(decoded.wave).all() and np.abs(decoded.wave).max() <= 1.01


def test_generated_cries_have_an_infants_pitch_and_pauses(generated):
    clips, _ = index("donateacry", generated / "donateacry")
    for clip in [c for c in clips if c.label == "cry"][:3]:
        decoded = audio.decode(generated / "donateacry" / clip.source_path)
        frames = decoded.wave[: len(decoded.wave) // 400 * 400].reshape(-1, 400)  # 50 ms
        level = np.sqrt((frames**2).mean(axis=1))
        assert (level < 0.25 * level.max()).mean() > 0.1  # pauses
        at = 400 * max(2, int(level.argmax()))
        frame = decoded.wave[at - 400 : at + 400] * np.hanning(800)
        same = np.correlate(frame, frame, "full")[799:]
        lags = np.arange(8_000 // 700, 8_000 // 280)
        assert same[lags].max() > 0.4 * same[0]  # voiced, between 280 and 700 Hz


def test_levels_do_not_tell_generated_cries_from_others(generated):
    levels = {"cry": [], "other": []}
    for clip in index("esc50", generated / "esc50")[0]:
        decoded = audio.decode(generated / "esc50" / clip.source_path)
        levels[clip.label].append(np.abs(decoded.wave).max())
    assert min(levels["other"]) < min(levels["cry"]) and max(levels["cry"]) < max(levels["other"])


@pytest.mark.parametrize("suffix", [".3gp", ".caf", ".m4a", ".mp3", ".flac", ".opus"])
def test_encoded_sounds_come_back(suffix, tmp_path):
    rate_hz = 48_000 if suffix == ".opus" else 16_000
    time = np.arange(rate_hz) / rate_hz
    encode(
        tmp_path / f"tone{suffix}",
        to_int16(0.5 * np.sin(2 * np.pi * 440 * time)),
        rate_hz,
    )
    decoded = audio.decode(tmp_path / f"tone{suffix}")
    middle = decoded.wave[len(decoded.wave) // 4 : -len(decoded.wave) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    peak_hz = spectrum.argmax() * decoded.rate_hz / len(middle)
    assert peak_hz == pytest.approx(440, abs=5)
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


# The real corpora, where they are at hand


@needs_real
def test_real_esc50():
    clips, refused = index("esc50", REAL / "esc50")
    labels = Counter(clip.label for clip in clips)
    assert refused == []
    assert len(clips) >= 320 and 32 <= labels["cry"] <= 40
    assert all(clip.licence == "CC BY 3.0" for clip in clips if clip.category == "rain")


@needs_real
def test_real_baby_cry_detection_shares_its_cries_with_esc50():
    clips, refused = index("baby_cry_detection", REAL / "baby_cry_detection")
    assert refused == []
    categories = Counter(clip.category for clip in clips)
    classes = set(baby_cry_detection.CLASSES.values()) - {"noise"}
    assert set(categories) == classes | set(baby_cry_detection.NOISES)
    assert categories["silence"] == 108 and categories["cat"] == 12
    assert len({c.recording_id for c in clips if c.category == "silence"}) == 1
    esc = {c.recording_id for c in index("esc50", REAL / "esc50")[0] if c.label == "cry"}
    cries = {
        c.recording_id
        for c in clips
        if c.label == "cry" and c.recording_id.startswith("freesound/")
    }
    assert cries <= esc


@needs_real
def test_real_donateacry():
    clips, refused = index("donateacry", REAL / "donateacry")
    labels = Counter(clip.label for clip in clips)
    assert labels["cry"] >= 321 and labels["unknown"] >= 753 and labels["other"] == 0
    assert len(refused) <= 5 and all(entry.source_path.endswith(".caf.caf") for entry in refused)
    assert {clip.recorded_at.year for clip in clips} <= {2014, 2015, 2016}
    infants, sessions = ({getattr(c, k) for c in clips} for k in ("infant_id", "session_id"))
    assert 1 < len(infants) <= len(sessions)
