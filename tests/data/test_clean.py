"""Cleaning a corpus: what is kept, what is refused and why, and what an interruption leaves."""

import errno
import hashlib
import json
import os
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from crywatch.audio.guard import Limits
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.params import section
from crywatch.corpora.shared.base import ClipEntry, Corpus, Event, Refused
from crywatch.data import clean
from crywatch.data.clean import CleanConfig, run, unique_stems
from crywatch.data.tables import read_table
from crywatch.data.tables.clips import CLIPS, EVENTS, QUARANTINE
from tests.helpers import deadly_decoder
from tests.helpers.container_cases import overwrite, packets_of, tone
from tests.helpers.container_cases import write as write_tracks

CONFIG = CleanConfig(
    rate_hz=16_000,
    min_duration_s=0.1,
    max_duration_s=14_400.0,
    min_peak_dbfs=-90.0,
    keep_silence=True,
    peak_normalise=False,
    workers=1,
)


class FolderCorpus(Corpus):
    """Every file of a folder is a clip; what its name does not say is in ``special``."""

    name = "fake"
    citation = terms = homepage = ""
    licence = "CC0"
    remotes = ()

    def __init__(self, special=None, label="cry"):
        self.special = special or {}
        self.label = label

    def check(self, folder):
        self.require(folder)

    def entries(self, folder):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            path = file.relative_to(folder).as_posix()
            if path in self.special:
                yield self.special[path]
            else:
                yield ClipEntry(path, self.label, "all", f"fake/{path}", self.licence)


def noise(seconds, rate_hz=16_000, gain=0.1, seed=0):
    values = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))
    return (gain * values).astype(np.float32).clip(-1, 1)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    soundfile.write(folder / "good.wav", noise(1.0), 16_000)
    return folder


@pytest.fixture
def cleaned(tmp_path, raw):
    """Run the stage on ``raw``; keyword arguments change the configuration."""

    def go(corpus=None, **changes):
        config = replace(CONFIG, **changes)
        return run(corpus or FolderCorpus(), config, raw, tmp_path / "out", tmp_path / "work")

    return go


def table(tmp_path, name):
    schemas = {schema.name: schema for schema in (CLIPS, EVENTS, QUARANTINE)}
    return read_table(tmp_path / "out" / f"{name}.parquet", schemas[name])


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_configuration_is_the_section(tmp_path):
    assert section("clean", CleanConfig).rate_hz == CONFIG.rate_hz


def test_a_clip_is_measured_and_written_as_16_khz_mono(tmp_path, raw, cleaned):
    stereo = np.stack([noise(2.0, 44_100, seed=1), noise(2.0, 44_100, seed=2)], axis=1)
    soundfile.write(raw / "loud.wav", stereo, 44_100)
    when = datetime(2015, 6, 1, 12, tzinfo=UTC)
    entry = ClipEntry(
        "loud.wav", "cry", "hungry", "rec/1", "CC0", "infant/1", "session/1", when,
        (Event(0.25, 1.5, "cry"),),
    )  # fmt: skip
    summary = cleaned(FolderCorpus({"loud.wav": entry}))
    clips = table(tmp_path, "clips").set_index("clip_id")
    row = clips.loc["fake/loud"]
    assert Path(row["path"]) == tmp_path / "out" / "audio" / "loud.flac"
    info = soundfile.info(row["path"])
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert info.frames == 32_000
    mono = stereo.mean(axis=1)
    assert row["duration_s"] == pytest.approx(2.0) and row["rate_hz"] == 44_100
    assert row["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(mono).max()), abs=0.01)
    assert row["rms_dbfs"] == pytest.approx(10 * np.log10(np.mean(mono**2)), abs=0.01)
    assert row["bandwidth_hz"] == pytest.approx(22_050, rel=0.05)
    assert (row["category"], row["recording_id"]) == ("hungry", "rec/1")
    assert (row["infant_id"], row["session_id"]) == ("infant/1", "session/1")
    assert row["recorded_at"] == pd.Timestamp(when)
    assert clips.loc["fake/good"][["infant_id", "session_id", "recorded_at"]].isna().all()
    events = table(tmp_path, "events")
    assert events.values.tolist() == [["fake/loud", 0.25, 1.5, "cry"]]
    assert summary.n_clips == 2 and summary.seconds == pytest.approx(3.0)
    assert summary.by_label == {"cry": 2} and summary.as_metrics()["clips_cry"] == 2.0


def test_the_digest_is_of_the_samples_on_disk(tmp_path, raw, cleaned):
    soundfile.write(raw / "b.ogg", noise(1.0, 22_050), 22_050)
    cleaned()
    for row in table(tmp_path, "clips").itertuples():
        samples, _ = soundfile.read(row.path, dtype="int16")
        assert hashlib.sha256(samples.tobytes()).hexdigest() == row.sha256


def test_the_blocks_join_without_a_seam(tmp_path, raw, cleaned, monkeypatch):
    soundfile.write(raw / "tone.wav", noise(3.0, 22_050), 22_050)
    cleaned()
    whole = read_clean(tmp_path / "out" / "audio" / "tone.flac")
    monkeypatch.setattr(clean, "GATHER_SAMPLES", 1000)
    cleaned()
    np.testing.assert_allclose(
        read_clean(tmp_path / "out" / "audio" / "tone.flac"), whole, atol=2**-14
    )


# --- bad input ------------------------------------------------------------------------------------


def write_truncated(path):
    soundfile.write(path, noise(1.0), 16_000, format="FLAC")
    path.write_bytes(path.read_bytes()[:60])


def write_nan(path):
    wave = noise(1.0)
    wave[500] = np.nan
    soundfile.write(path, wave, 16_000, format="WAV", subtype="FLOAT")


BAD = {
    "truncated.flac": (write_truncated, "not a recording|nothing in it decodes"),
    "zero.wav": (lambda path: path.touch(), r"empty \(0 bytes\)"),
    "text.wav": (lambda path: path.write_text("hello " * 99), "not a recording"),
    "nan.wav": (write_nan, "NaN"),
    "silence.wav": (lambda path: soundfile.write(path, np.zeros(16_000), 16_000), "silent"),
    "blink.wav": (
        lambda path: soundfile.write(path, noise(0.005), 16_000),
        r"5 ms, shorter than 0\.1 s",
    ),
    "long.wav": (lambda path: soundfile.write(path, noise(3.0), 16_000), r"longer than 2\.0 s"),
}


def test_a_bad_file_is_quarantined_with_its_reason_and_stops_nothing(tmp_path, raw, cleaned):
    for name, (write, _) in BAD.items():
        write(raw / name)
    special = {"odd.wav": Refused("odd.wav", "not in the table")}
    (raw / "odd.wav").touch()
    summary = cleaned(FolderCorpus(special), max_duration_s=2.0)
    assert summary.n_clips == 1 and summary.n_quarantined == len(BAD) + 1
    assert table(tmp_path, "clips")["clip_id"].tolist() == ["fake/good"]
    reasons = table(tmp_path, "quarantine").set_index("source_path")["reason"]
    assert reasons["odd.wav"] == "not in the table"
    for name, (_, expected) in BAD.items():
        assert pd.Series([reasons[name]]).str.contains(expected).all(), reasons[name]
        assert str(raw) not in reasons[name].split(": ")[0]  # the row already names the file
    assert sorted(path.name for path in (tmp_path / "out" / "audio").iterdir()) == ["good.flac"]
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["reasons"] == summary.reasons and sum(summary.reasons.values()) == len(BAD) + 1


@pytest.mark.parametrize(
    ("label", "keep", "n_clips"),
    [("other", True, 1), ("other", False, 0), ("cry", True, 0), ("unknown", True, 0)],
)
def test_silence_is_kept_only_as_a_negative(tmp_path, raw, cleaned, label, keep, n_clips):
    soundfile.write(raw / "good.wav", np.zeros(16_000), 16_000)
    summary = cleaned(FolderCorpus(label=label), keep_silence=keep)
    assert (summary.n_clips, summary.n_quarantined) == (n_clips, 1 - n_clips)
    if n_clips:
        row = table(tmp_path, "clips").iloc[0]
        assert row["peak_dbfs"] == row["rms_dbfs"] == -200 and row["bandwidth_hz"] == 0
    assert [path.name for path in (tmp_path / "out" / "audio").iterdir()] == ["good.flac"] * n_clips


def test_a_truncated_file_is_kept_and_counted(tmp_path, raw, cleaned):
    soundfile.write(raw / "cut.flac", noise(4.0), 16_000)
    data = (raw / "cut.flac").read_bytes()
    (raw / "cut.flac").write_bytes(data[: len(data) // 2])
    summary = cleaned()
    assert (summary.n_clips, summary.n_truncated) == (2, 1)
    cut = table(tmp_path, "clips").set_index("clip_id").loc["fake/cut"]
    assert 1.0 < cut["duration_s"] < 2.5
    assert soundfile.info(cut["path"]).duration == pytest.approx(cut["duration_s"])


def test_damage_and_gaps_are_kept_as_silence_and_counted(tmp_path, raw, cleaned):
    write_tracks(raw / "gap.mka", "matroska", [("flac", [(0, tone(2.0)), (5, tone(2.0))], {})])
    path = write_tracks(raw / "bad.m4a", "ipod", [("aac", [(0, tone(6.0))], {})])
    packets = packets_of(path)
    overwrite(path, packets[30][0], packets[60][0], b"\xff")
    summary = cleaned()
    assert (summary.n_clips, summary.n_truncated) == (3, 0)
    assert summary.gap_s == pytest.approx(3.0, abs=0.2)
    assert summary.damaged_s == pytest.approx(30 * 1024 / 16_000, abs=0.2)
    assert summary.as_metrics()["damaged_seconds"] == summary.damaged_s
    rows = table(tmp_path, "clips").set_index("clip_id")
    assert rows.loc["fake/gap", "duration_s"] == pytest.approx(7.0, abs=0.2)


@pytest.mark.parametrize("value", [0.5, 0.004])
def test_a_clip_that_is_constant_is_silent(raw, cleaned, value):
    soundfile.write(raw / "good.wav", np.full(16_000, value), 16_000)
    assert cleaned(FolderCorpus(label="cry")).n_clips == 0


def test_eight_channels_and_a_wrong_extension(tmp_path, raw, cleaned):
    wave = np.repeat(noise(1.0)[:, None], 8, axis=1)
    soundfile.write(raw / "eight.mp3", wave, 16_000, format="WAV")
    cleaned()
    rows = table(tmp_path, "clips").set_index("clip_id")
    assert rows.loc["fake/eight", "rms_dbfs"] == pytest.approx(rows.loc["fake/good", "rms_dbfs"])


def test_names_with_spaces_other_scripts_and_twins(tmp_path, raw, cleaned):
    (raw / "sub").mkdir()
    names = [
        "a b.wav",
        "bébé qui pleure.wav",
        "赤ちゃん.wav",
        "泣き声.wav",
        "sub/good.wav",
        "GOOD.wav",
    ]
    for seed, name in enumerate(names):
        soundfile.write(raw / name, noise(0.5, seed=seed + 1), 16_000)
    assert cleaned().n_clips == len(names) + 1
    clips = table(tmp_path, "clips")
    assert set(clips["source_path"]) == {*names, "good.wav"}
    stems = [Path(path).stem for path in clips["path"]]
    assert len({stem.lower() for stem in stems}) == len(stems)
    assert clips["clip_id"].tolist() == [f"fake/{stem}" for stem in stems]
    for row in clips.itertuples():
        assert Path(row.path).name.isascii() and " " not in Path(row.path).name
        expected, _ = soundfile.read(raw / row.source_path, dtype="float32")
        np.testing.assert_allclose(read_clean(row.path), expected, atol=2**-13)


def test_a_stem_does_not_depend_on_what_else_is_there():
    assert unique_stems(["x/1-17367-A-10.wav"]) == {"x/1-17367-A-10.wav": "1-17367-A-10"}
    alone, both = unique_stems(["é.wav"]), unique_stems(["é.wav", "è.wav"])
    assert alone["é.wav"] == both["é.wav"] != both["è.wav"]


def test_a_stem_is_that_of_the_name_in_any_spelling_of_accents():
    nfc, nfd = (unicodedata.normalize(form, "é/bébé.wav") for form in ("NFC", "NFD"))
    assert unique_stems([nfc])[nfc] == unique_stems([nfd])[nfd]
    assert len(set(unique_stems([nfc, nfd]).values())) == 2


def test_a_title_takes_the_place_of_a_files_own_name():
    titles = {"a/Mia.wav": "one", "b/Mia.wav": "two", "Lea 1.wav": "three 1"}
    stems = unique_stems([*titles, "x.wav"], titles)
    assert (stems["a/Mia.wav"], stems["b/Mia.wav"], stems["x.wav"]) == ("one", "two", "x")
    assert stems["Lea 1.wav"].startswith("three_1-")
    assert len(set(unique_stems(["a/Mia.wav", "one.wav"], titles).values())) == 2


def test_a_name_as_long_as_the_file_system_allows(raw, cleaned):
    soundfile.write(raw / f"{'x' * 251}.wav", noise(0.5), 16_000)
    assert cleaned().n_clips == 2


def test_an_entry_whose_file_is_gone_is_quarantined(tmp_path, raw, cleaned):
    gone = ClipEntry("gone.wav", "cry", "all", "fake/gone", "CC0")
    corpus = FolderCorpus()
    corpus.entries = lambda folder: [gone, *FolderCorpus().entries(folder)]
    assert cleaned(corpus).n_clips == 1
    assert "no such file" in table(tmp_path, "quarantine")["reason"].iloc[0]


def test_nothing_to_clean_gives_empty_tables(tmp_path, raw, cleaned):
    (raw / "good.wav").unlink()
    summary = cleaned()
    assert (summary.n_clips, summary.seconds) == (0, 0)
    for name in ("clips", "events", "quarantine"):
        assert table(tmp_path, name).empty


def test_three_hours_are_cleaned_in_little_memory(tmp_path, raw):
    import tracemalloc

    hours, rate_hz = 3, 1_000  # a low rate keeps the test short; the blocks are the same
    target = raw / "night.flac"
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(target, "w", rate_hz, 1, subtype="PCM_16") as sink:
        for _ in range(hours * 60):
            sink.write(rng.uniform(-0.1, 0.1, 60 * rate_hz))
    task = clean._Task(
        "night.flac", target, tmp_path / "night.flac", "cry", replace(CONFIG, rate_hz=2_000)
    )
    tracemalloc.start()
    measured = clean.clean_file(task)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert measured.duration_s == 3600 * hours
    assert soundfile.info(tmp_path / "night.flac").duration == pytest.approx(3600 * hours)
    assert peak_bytes < 12e6  # 43 MB of floats come in, 86 MB go out


def name_of(task):
    return task.name


@pytest.mark.parametrize("workers", [1, 2])
def test_only_a_few_files_wait_for_a_worker(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(clean, "clean_file", name_of)
    drawn = []

    def tasks():
        for number in range(1003):
            drawn.append(number)
            yield clean._Task(str(number), tmp_path, tmp_path, "cry", CONFIG)

    results = clean._parallel(tasks(), workers)
    first = next(results)
    assert len(drawn) <= workers * clean.CHUNKS_AHEAD * clean.CHUNK < 100
    found = dict([first, *results])
    assert found == {str(number): str(number) for number in range(1003)}


def die(task):
    os._exit(9)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_decoder_that_dies_costs_its_file(tmp_path, many, cleaned, monkeypatch, workers):
    names = ["abort-a.wav", "sleep-b.wav"]
    for name in names:
        soundfile.write(many / name, noise(0.3, 8_000), 8_000)
    with deadly_decoder.used(monkeypatch):
        summary = cleaned(workers=workers, decoding=Limits(stall_s=2.0))
    assert (summary.n_clips, summary.n_quarantined) == (10, 3)
    reasons = table(tmp_path, "quarantine").set_index("source_path")["reason"]
    assert reasons[names].tolist() == [
        "its decoder crashed (SIGABRT)",
        "its decoder gave nothing for 2 s",
    ]
    assert not list((tmp_path / "out" / "audio").glob("abort*"))


def test_a_worker_that_dies_is_told(tmp_path, many, cleaned, monkeypatch):
    monkeypatch.setattr(clean, "clean_file", die)
    with pytest.raises(CrywatchError, match="a worker process died"):
        cleaned(workers=2)
    assert not (tmp_path / "out").exists()


# --- normalising ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 8_000}, "clean.rate_hz: 8000"),
        ({"min_duration_s": 9.0, "max_duration_s": 8.0}, "not 9 and 8"),
    ],
)
def test_settings_that_no_later_stage_can_use_are_named(tmp_path, cleaned, change, message):
    with pytest.raises(ConfigError, match=message):
        cleaned(**change)
    assert not (tmp_path / "out").exists()


def test_the_level_is_kept_unless_asked(tmp_path, raw, cleaned):
    soundfile.write(raw / "quiet.wav", noise(1.0, gain=0.01), 16_000)
    quiet = tmp_path / "out" / "audio" / "quiet.flac"
    cleaned()
    assert np.abs(read_clean(quiet)).max() < 0.06
    cleaned(peak_normalise=True)
    assert np.abs(read_clean(quiet)).max() == pytest.approx(1.0, abs=1e-3)
    row = table(tmp_path, "clips").set_index("clip_id").loc["fake/quiet"]
    assert row["peak_dbfs"] < -20  # of the source
    samples, _ = soundfile.read(quiet, dtype="int16")
    assert row["sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()


def test_a_float_recording_above_full_scale_is_normalised_not_clipped(tmp_path, raw, cleaned):
    wave = (4 * np.sin(np.arange(16_000) * 0.1)).astype(np.float32)
    soundfile.write(raw / "over.wav", wave, 16_000, subtype="FLOAT")
    cleaned(peak_normalise=True)
    result = read_clean(tmp_path / "out" / "audio" / "over.flac")
    np.testing.assert_allclose(result, wave / np.abs(wave).max(), atol=1e-3)


# --- repeatable, resumable, all or nothing --------------------------------------------------------


@pytest.fixture
def many(raw):
    for index in range(9):
        soundfile.write(raw / f"{index}.wav", noise(0.3, 8_000, seed=index), 8_000)
    (raw / "bad.wav").touch()
    return raw


@pytest.mark.timeout(120)
def test_the_same_bytes_whatever_the_number_of_workers(tmp_path, many, cleaned):
    cleaned(workers=1)
    alone = contents(tmp_path / "out")
    cleaned(workers=1)
    assert contents(tmp_path / "out") == alone
    cleaned(workers=2)
    assert contents(tmp_path / "out") == alone
    assert not (tmp_path / "work").exists()


def interrupt_after(monkeypatch, n_files):
    """Let ``n_files`` through `_convert`, then act as Ctrl-C; returns the names that were begun."""
    convert, begun = clean._convert, []

    def convert_some(task):
        begun.append(task.source.name)
        if len(begun) > n_files:
            raise KeyboardInterrupt
        return convert(task)

    monkeypatch.setattr(clean, "_convert", convert_some)
    return begun


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, many, cleaned, monkeypatch):
    cleaned()
    undisturbed = contents(tmp_path / "out")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 4)
        cleaned()
    assert contents(tmp_path / "out") == undisturbed  # what was there is still whole
    begun = interrupt_after(monkeypatch, 99)
    cleaned()
    assert len(begun) == 11 - 4 and "0.wav" not in begun
    assert contents(tmp_path / "out") == undisturbed
    assert not (tmp_path / "work").exists()


def test_a_first_run_that_is_interrupted_leaves_no_output(tmp_path, many, cleaned, monkeypatch):
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        cleaned()
    assert not (tmp_path / "out").exists()


def test_finished_files_of_other_inputs_or_settings_are_not_reused(
    tmp_path, many, cleaned, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 4)
        cleaned()
    soundfile.write(many / "0.wav", noise(0.7, 8_000, seed=50), 8_000)
    cleaned()
    rows = table(tmp_path, "clips").set_index("clip_id")
    assert rows.loc["fake/0", "duration_s"] == pytest.approx(0.7)


def test_the_half_file_of_a_killed_run_is_not_published(tmp_path, many, cleaned, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 4)
        cleaned()
    (state,) = (tmp_path / "work").iterdir()
    (state / "audio" / ".tmp-0123456789ab-5.flac").write_bytes(b"fLaC half")  # as SIGKILL leaves
    cleaned()
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_a_full_disk_names_the_file_and_the_earlier_output_stays(
    tmp_path, raw, cleaned, monkeypatch
):
    cleaned()
    before = contents(tmp_path / "out")
    soundfile.write(raw / "next.wav", noise(1.0, seed=3), 16_000)
    write = soundfile.SoundFile.write

    def full(self, data):
        if "next" in str(self.name):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(OSError, match=r"cannot write .*next\.flac: No space left") as caught:
        cleaned()
    assert caught.value.errno == errno.ENOSPC
    assert contents(tmp_path / "out") == before
    assert not list((tmp_path / "work").rglob("*next*"))
