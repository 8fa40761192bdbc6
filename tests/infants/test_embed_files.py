"""A user's files as cries and vectors: what is written, and what a bad file does."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from typer.testing import CliRunner

from crywatch.audio.extents import ExtentConfig
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.cli import main as cli
from crywatch.core import params
from crywatch.core.errors import AudioError
from crywatch.corpora.generate import synthesis
from crywatch.infants.enrolment.listening import HearingConfig, Listener, cries_of
from crywatch.speaker.batches import AveragingConfig
from crywatch.speaker.cries import CriesConfig, cut_recording
from tests.helpers import deadly_decoder
from tests.helpers import store_cases as cases

CRIES = CriesConfig("unused", 0.5, 0.3, ExtentConfig(15.0, 20.0, 0.08, 0.06), 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = cases.make_project(tmp_path_factory.mktemp("project"))
    for number in range(2):
        cases.sing(folder / "sounds" / f"{number}.wav", number, seconds=3.0)
    return folder


@pytest.fixture(scope="module")
def listener(project):
    config = params.section("infant.hearing", HearingConfig, project / "params.yaml")
    return Listener(config, project)


def run(*arguments):
    return CliRunner().invoke(cli.app, ["embed", *map(str, arguments)])


def loud(wave):
    """A detector of loud seconds."""
    whole = len(wave) // RATE_HZ * RATE_HZ
    return np.abs(wave[:whole].reshape(-1, RATE_HZ)).max(axis=1)


def long_recording(seconds=64):
    """Bursts of half a second with pauses, at even levels, and a quiet fifth of it."""
    time = np.arange(seconds * RATE_HZ) / RATE_HZ
    wave = 0.5 * np.sin(2 * np.pi * 440 * time) * ((time % 0.8) < 0.5)
    return (wave * (time % 10 < 8) + 1e-5 * np.sin(time)).astype(np.float32)


@pytest.mark.parametrize("chunk", [1000, 16_000, 200_000])
def test_cries_do_not_depend_on_chunks_or_blocks(chunk):
    wave = long_recording()
    whole = cut_recording(wave, loud, CRIES).cries
    found = list(cries_of(np.split(wave, range(chunk, len(wave), chunk)), loud, CRIES, 20.0))
    assert [cry.onset_s for cry in found] == pytest.approx([cry.onset_s for cry in whole])
    assert len(found) == len(whole) > 60
    for cry, stretch in zip(found, whole, strict=True):
        np.testing.assert_allclose(
            cry.wave / cry.wave.max(), wave[stretch.samples()] / 0.5, atol=1e-3
        )


def test_crying_longer_than_a_block_is_cut_and_kept():
    wave = np.full(10 * RATE_HZ, 0.5, dtype=np.float32)
    found = list(cries_of([wave], lambda part: np.ones(len(part) // RATE_HZ), CRIES, 4.0))
    assert sum(len(cry.wave) for cry in found) == len(wave)


def test_vectors_of_every_cry_and_the_network_s_name(project, listener, monkeypatch):
    monkeypatch.chdir(project)
    result = run("sounds", "--out", "x.parquet")
    assert result.exit_code == 0, result.output
    assert (project / "x.parquet").stat().st_mode & 0o777 == 0o600
    table = pq.read_table("x.parquet")
    assert [(f.name, str(f.type)) for f in table.schema] == [
        ("path", "string"),
        ("start_s", "double"),
        ("vector", "list<element: float>"),
    ]
    rows = table.to_pylist()
    assert f"{len(rows)} vectors of 2 files" in result.stdout
    assert {row["path"] for row in rows} == {"sounds/0.wav", "sounds/1.wav"}
    vectors = np.array([row["vector"] for row in rows])
    assert vectors.shape == (len(rows), 192) and len(rows) >= 4
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    said = json.loads(table.schema.metadata[b"crywatch"])
    assert said == {"network": "tiny", "digest": listener.info.digest, "dim": 192, "of": "cry"}
    heard = listener.hear(project / "sounds" / "0.wav")
    own = [row for row in rows if row["path"] == "sounds/0.wav"]
    assert [row["start_s"] for row in own] == [cry.onset_s for cry in heard.cries]
    np.testing.assert_array_equal(
        np.float32(own[1]["vector"]), listener.vector(heard.cries[1].wave)
    )


def test_equal_files_give_equal_vectors_and_bytes(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    first = project / "sounds" / "0.wav"
    wave, rate = soundfile.read(first, dtype="int16")
    soundfile.write(tmp_path / "copy.flac", wave, rate)
    for out in ("a", "b"):
        assert run(first, tmp_path / "copy.flac", "--out", tmp_path / out).exit_code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    rows = pq.read_table(tmp_path / "a").to_pylist()
    half = len(rows) // 2
    assert [r["vector"] for r in rows[:half]] == [r["vector"] for r in rows[half:]]
    assert [r["start_s"] for r in rows[:half]] == [r["start_s"] for r in rows[half:]]


def test_a_file_as_a_whole(project, listener, monkeypatch):
    monkeypatch.chdir(project)
    assert run("sounds", "--whole", "--out", "whole.parquet").exit_code == 0
    rows = pq.read_table("whole.parquet").to_pylist()
    assert [(row["path"], row["start_s"]) for row in rows] == [
        ("sounds/0.wav", 0.0),
        ("sounds/1.wav", 0.0),
    ]
    wave, _ = soundfile.read("sounds/0.wav", dtype="float32")
    expected = listener.vector(resample(wave, synthesis.RATE_HZ, RATE_HZ))
    np.testing.assert_allclose(rows[0]["vector"], expected, atol=1e-3)


def test_a_long_file_as_a_whole_is_the_mean_of_its_pieces(project, listener, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr("crywatch.infants.enrolment.listening.WHOLE_S", 1.0)
    assert run("sounds/0.wav", "--whole", "--out", "pieces.parquet").exit_code == 0
    row = pq.read_table("pieces.parquet").to_pylist()[0]
    wave, _ = soundfile.read("sounds/0.wav", dtype="float32")
    wave = resample(wave, synthesis.RATE_HZ, RATE_HZ)[: 3 * RATE_HZ]
    mean = np.mean([listener.vector(part) for part in wave.reshape(3, -1)], axis=0)
    np.testing.assert_allclose(row["vector"], mean / np.linalg.norm(mean), atol=1e-3)


def test_a_bad_file_is_said_and_gives_exit_code_1(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    (tmp_path / "bad.wav").write_bytes(b"not audio at all")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    result = run(tmp_path, "gone.wav", "sounds/0.wav", "--out", tmp_path / "x.parquet")
    assert result.exit_code == 1
    assert "bad.wav" in result.stderr and "gone.wav: no such file" in result.stderr
    assert "silent.wav: no cry was found" in result.stderr
    assert set(pq.read_table(tmp_path / "x.parquet")["path"].to_pylist()) == {"sounds/0.wav"}


def test_a_file_that_ends_its_decoder_stops_nothing(project, listener, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    bad = cases.sing(tmp_path / "abort-1.wav", 1, seconds=3.0)
    with deadly_decoder.used(monkeypatch):
        with pytest.raises(AudioError, match=f"{bad}: its decoder crashed"):
            listener.hear(bad)
        result = run(bad, "sounds/0.wav", "--out", tmp_path / "x.parquet")
    assert result.exit_code == 1 and f"{bad}: its decoder crashed (SIGABRT)" in result.stderr
    assert set(pq.read_table(tmp_path / "x.parquet")["path"].to_pylist()) == {"sounds/0.wav"}


def test_a_broken_run_leaves_what_was_there(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    out = tmp_path / "x.parquet"
    out.write_text("older")
    monkeypatch.setattr("crywatch.infants.enrolment.listening.utf8", lambda *_: 1 / 0)
    assert isinstance(run("sounds", "--out", out).exception, ZeroDivisionError)
    assert out.read_text() == "older" and list(tmp_path.iterdir()) == [out]


def test_other_weights_and_averaging_have_another_digest(project, listener, tmp_path):
    cases.save_network(tmp_path / "network", seed=2)
    config = listener.config
    other = Listener(config, project, tmp_path / "network")
    assert other.info.digest != listener.info.digest
    changed = HearingConfig(**vars(config) | {"averaging": AveragingConfig(4, 1.0)})
    assert Listener(changed, project).info.digest != listener.info.digest


def test_without_files_or_network_it_says_what_to_do(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    result = run(tmp_path, "--out", "y.parquet")
    assert "no audio files in" in str(result.exception)
    result = run("sounds", "--model", tmp_path, "--out", "y.parquet")
    assert "no model here" in str(result.exception)
    assert not (project / "y.parquet").exists()
