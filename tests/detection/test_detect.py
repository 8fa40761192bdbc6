"""Events from scores, output formats, and the command on good and bad files."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import ConfigError
from crywatch.detection.decisions import Calibration, Decision, RatedRule, Rule
from crywatch.detection.detect import (
    THRESHOLD,
    DetectConfig,
    detect_file,
    find_files,
)
from crywatch.detection.formats import to_audacity, to_jsonl, to_table
from tests.helpers import deadly_decoder
from tests.helpers.container_cases import tone, write

CONFIG = DetectConfig(model="", threshold=0.5, min_event_s=1.0, max_gap_s=1.0)


def buzz(n_samples, level):
    """Samples of plus and minus ``level``."""
    return level * (-1.0) ** (np.arange(n_samples) // 8)


class Loudness:
    """A detector that calls loud seconds a cry."""

    decision = None

    def speed_up(self) -> None:
        pass

    def score_stream(self, chunks):
        wave = np.concatenate(list(chunks))
        seconds = wave[: len(wave) // 16000 * 16000].reshape(-1, 16000)
        return np.clip(np.abs(seconds).max(axis=1) * 2, 0, 1)


class Calibrated(Loudness):
    """Its scores are halved on the scale of the logit; two stated rates."""

    decision = Decision(
        Calibration("temperature", slope=0.5),
        (
            RatedRule(1.0, Rule(0.74, 0.7, 1.0, 1.0), 0, 0.9, True),
            RatedRule(5.0, Rule(0.6, 0.4, 1.0, 1.0), 2, 6.0, False),
        ),
        1.0,
        {},
    )


def test_jsonl_has_the_documented_keys(tmp_path):
    wave = np.zeros(3 * 16000, dtype=np.float32)
    wave[16000:32000] = 0.5 * np.sin(np.arange(16000))
    path = tmp_path / "a b é.wav"
    soundfile.write(path, wave, 16000)
    record = json.loads(to_jsonl(detect_file(path, Loudness(), CONFIG)))
    assert set(record) == {"path", "duration_s", "cry", "seconds", "events"}
    assert record["path"] == str(path)
    assert record["duration_s"] == 3.0
    assert [set(second) for second in record["seconds"]] == [{"start_s", "cry"}] * 3
    assert record["events"] == [
        {"onset_s": 1.0, "offset_s": 2.0, "peak": pytest.approx(record["cry"])}
    ]
    detection = detect_file(path, Loudness(), CONFIG)
    assert to_audacity(detection).splitlines()[0].startswith("1.000\t2.000\tcry")
    assert "1-2 s" in to_table(detection)


def test_folders_give_their_audio_files_sorted(tmp_path):
    for name in ("b.wav", "a.MP3", "notes.txt", "._b.wav", "c.wav.part", "d.mp2", "e.ts"):
        (tmp_path / name).touch()
    (tmp_path / "night").write_bytes(b"fLaC" + bytes(99))
    found = [path.name for path in find_files([tmp_path])]
    assert found == ["a.MP3", "b.wav", "d.mp2", "night"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(
        "detect: {model: m, threshold: null, min_event_s: 1.0, max_gap_s: 1.0}\n"
    )
    (tmp_path / "calibrated").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "crywatch.detection.detectors.load_detector",
        lambda folder: Calibrated() if folder.name == "calibrated" else Loudness(),
    )
    return tmp_path


def test_a_bad_file_gives_an_error_line_and_exit_code_1(project):
    (project / "bad.wav").write_bytes(b"not audio at all")
    soundfile.write(project / "good.wav", buzz(16000, 0.4), 16000)
    result = CliRunner().invoke(cli.app, ["detect", "bad.wav", "good.wav", "--format", "jsonl"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert set(lines[0]) == {"path", "error"} and "bad.wav" in lines[0]["error"]
    assert lines[1]["path"] == "good.wav" and len(lines[1]["seconds"]) == 1


def test_a_file_that_ends_its_decoder_is_an_error_line_and_stops_nothing(project, monkeypatch):
    for name in ("abort-1.wav", "good.wav"):
        soundfile.write(project / name, np.full(16000, 0.4, dtype=np.float32), 16000)
    with deadly_decoder.used(monkeypatch):
        result = CliRunner().invoke(cli.app, ["detect", ".", "--format", "jsonl"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert lines[0]["error"] == "abort-1.wav: its decoder crashed (SIGABRT)"
    assert lines[1]["path"] == "good.wav" and len(lines[1]["seconds"]) == 1


def test_a_missing_file_is_an_error_line(project):
    result = CliRunner().invoke(cli.app, ["detect", "gone.wav", "--format", "jsonl"])
    assert result.exit_code == 1
    assert "gone.wav" in json.loads(result.stdout)["error"]


def test_a_label_track_holds_labels_alone(project):
    (project / "bad.wav").write_bytes(b"not audio at all")
    soundfile.write(project / "good.wav", buzz(32000, 0.6), 16000)
    result = CliRunner().invoke(cli.app, ["detect", "bad.wav", "good.wav", "--format", "audacity"])
    assert result.exit_code == 1
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [["0.000", "2.000"]]
    assert "bad.wav" in result.stderr


def test_a_file_that_breaks_off_is_scored_and_said(project):
    path = project / "cut.wav"
    soundfile.write(path, buzz(3 * 16000, 0.4), 16000)
    path.write_bytes(path.read_bytes()[:70_000])
    result = CliRunner().invoke(cli.app, ["detect", "cut.wav", "--format", "jsonl"])
    assert result.exit_code == 0
    assert set(json.loads(result.stdout)) == {"path", "duration_s", "cry", "seconds", "events"}
    assert "cut.wav: the file breaks off; the 2.186 s before" in result.stderr


def test_gaps_and_tracks_are_said_and_times_are_the_files(project):
    tracks = [("flac", [(0, tone(2.0)), (5, tone(2.0))], {}), ("flac", [(0, tone(7.0))], {})]
    write(project / "gap.mka", "matroska", tracks)
    result = CliRunner().invoke(cli.app, ["detect", "gap.mka", "--format", "jsonl"])
    record = json.loads(result.stdout)
    assert result.exit_code == 0 and record["gap_s"] == pytest.approx(3.0, abs=0.2)
    assert [event["onset_s"] for event in record["events"]] == [0.0, 5.0]
    assert "gap.mka: gaps of" in result.stderr
    assert "gap.mka: sound track 1 of 2 is heard" in result.stderr


def test_a_file_of_one_sample_is_an_error_line_and_stops_nothing(project):
    soundfile.write(project / "blip.wav", [0.5], 96_000)
    soundfile.write(project / "good.wav", buzz(16000, 0.4), 16000)
    result = CliRunner().invoke(cli.app, ["detect", "blip.wav", "good.wav", "--format", "jsonl"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert "blip.wav: too short" in lines[0]["error"] and len(lines[1]["seconds"]) == 1


def test_a_name_that_is_no_utf8_still_gives_json(project):
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        with open(name, "wb") as sink:
            soundfile.write(sink, buzz(16000, 0.4), 16000, format="WAV")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    result = CliRunner().invoke(cli.app, ["detect", ".", "--format", "jsonl"])
    assert result.exit_code == 0
    assert json.loads(result.stdout_bytes.decode("utf-8"))["path"] == name


def seconds_at(path, *levels):
    """A file with a peak of each of ``levels`` in a second of its own."""
    wave = np.repeat(np.array(levels), 16_000) * buzz(16_000 * len(levels), 1.0)
    soundfile.write(path, wave, 16_000, subtype="FLOAT")


def detected(*options):
    result = CliRunner().invoke(cli.app, ["detect", "a.wav", "--format", "jsonl", *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def spans(record):
    return [(event["onset_s"], event["offset_s"]) for event in record["events"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [(1.0, 3.0)]),  # as the model decides by default: 0.74 and 0.7
        (["--false-alarms-per-hour", "1"], [(1.0, 3.0)]),
        (["--false-alarms-per-hour", "5"], [(0.0, 6.0)]),
        (["--threshold", "0.74"], [(1.0, 2.0)]),
    ],
)
def test_a_calibrated_model_decides_on_its_probabilities(project, options, expected):
    # Scores of 0.4, 0.9, 0.85, 0.2, 0.6, 0.7: probabilities of the square roots of their odds.
    seconds_at("a.wav", 0.2, 0.45, 0.425, 0.1, 0.3, 0.35)
    record = detected("--model", "calibrated", *options)
    odds = [np.sqrt(s / (1 - s)) for s in (0.4, 0.9, 0.85, 0.2, 0.6, 0.7)]
    shown = [second["cry"] for second in record["seconds"]]
    np.testing.assert_allclose(shown, [o / (1 + o) for o in odds], rtol=1e-5)
    assert record["cry"] == max(shown)
    assert spans(record) == expected
    for event in record["events"]:
        assert event["peak"] in shown


def test_params_choose_as_the_options_do(project):
    seconds_at("a.wav", 0.2, 0.45, 0.425, 0.1, 0.3, 0.35)
    written = "detect: {model: m, min_event_s: 1.0, max_gap_s: 1.0, %s}\n"
    for set_to, expected in (
        ("threshold: null", [(1.0, 3.0)]),
        ("threshold: 0.74", [(1.0, 2.0)]),
        ("threshold: null, false_alarms_per_hour: 5", [(0.0, 6.0)]),
    ):
        (project / "params.yaml").write_text(written % set_to)
        assert spans(detected("--model", "calibrated")) == expected
    # An option goes before what params.yaml says, of either kind.
    assert spans(detected("--model", "calibrated", "--threshold", "0.74")) == [(1.0, 2.0)]


def test_a_model_without_a_decision_has_a_threshold(project):
    config = DetectConfig(model="", threshold=None, min_event_s=2.0, max_gap_s=1.0)
    assert config.rule(None) == Rule(THRESHOLD, THRESHOLD, 2.0, 1.0)
    assert CONFIG.rule(None) == CONFIG.rule(Calibrated.decision) == Rule(0.5, 0.5, 1.0, 1.0)


def test_a_rate_that_nothing_keeps_is_refused(project):
    seconds_at("a.wav", 0.2)
    with pytest.raises(ConfigError, match="not calibrated and keeps no rate"):
        detected("--false-alarms-per-hour", "1")
    with pytest.raises(ConfigError, match="name one of 1, 5"):
        detected("--model", "calibrated", "--false-alarms-per-hour", "2")
    with pytest.raises(ConfigError, match="exclude each other"):
        detected("--threshold", "0.5", "--false-alarms-per-hour", "1")


def test_names_give_no_orders_and_json_gives_them_back(project):
    name = "a\x1b[2J\n\tb\x9b.wav"
    soundfile.write(project / name, 0.9 * np.sin(np.arange(16000)), 16000)
    (project / f"bad {name}").write_bytes(b"no sound")
    for format in ("table", "audacity", "jsonl"):
        result = CliRunner().invoke(cli.app, ["detect", ".", "--format", format])
        printed = result.stdout + result.stderr
        assert not set("\x1b\x9b") & set(printed) and result.exit_code == 1
        if format == "jsonl":
            paths = [json.loads(line)["path"] for line in result.stdout.splitlines()]
            assert paths == [name, f"bad {name}"]
        else:
            assert r"a\x1b[2J\n\tb\x9b.wav" in result.stdout
            assert len(result.stdout.splitlines()) == (3 if format == "table" else 1)


def test_a_file_is_found_in_another_spelling_of_its_accents(project):
    nfc, nfd = (unicodedata.normalize(form, "bébé.wav") for form in ("NFC", "NFD"))
    for on_disk, asked in ((nfc, nfd), (nfd, nfc)):
        (project / on_disk).unlink(missing_ok=True)
        soundfile.write(project / on_disk, np.full(16000, 0.9, dtype=np.float32), 16000)
        for path in (asked, project / asked):
            [found] = find_files([Path(path)])
            assert found.read_bytes() == (project / on_disk).read_bytes()
        (project / on_disk).unlink()
