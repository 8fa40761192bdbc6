"""Stage ``robust_sounds``: 8 kHz, copies by the clip's name, nothing of the test part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crywatch.audio.waves.cleaned import read_clean
from crywatch.audio.waves.resampling import resample
from crywatch.core.digest import files_sha256
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.detection.robust.robust_sounds import apply_codec, run
from crywatch.detection.robust.sounds import Sounds
from tests.helpers.blazenet_cases import write_clips
from tests.helpers.robust_cases import CHANNELS, SOUNDS, World


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def test_every_clip_is_there_as_it_is_and_through_codecs_and_channel(world):
    sounds = Sounds(world.sounds)
    assert sounds.codecs == ["codec_0", "codec_1"] and sounds.channels == ["telephone"]
    row = world.rows[0]
    expected = resample(read_clean(row["path"]), 16_000, 8_000)
    assert len(expected) == 20_000
    np.testing.assert_allclose(sounds.wave(row["clip_id"]), expected, rtol=1e-3, atol=1e-6)
    for copy in ("codec_0", "codec_1", "telephone"):
        other = sounds.wave(row["clip_id"], copy)
        assert other.shape == expected.shape
        assert 0.3 < abs(np.corrcoef(other, expected)[0, 1]) < 0.99999
    assert (world.summary.n_clips, world.summary.n_copies) == (26, 4)
    assert world.summary.n_taught == 0 and sounds.teacher is None


def test_the_test_part_is_not_read(world):
    sounds = Sounds(world.sounds)
    with pytest.raises(TableError, match="has no features"):
        sounds.wave("a/cry-test-0")


def test_a_copy_depends_on_its_clip_alone(world, tmp_path):
    few = [row for row in world.rows if row["clip_id"].endswith("train-3")]
    for row in few:
        row.pop("group_id", None)
    run(write_clips(tmp_path / "c.parquet", few), SOUNDS, CHANNELS, "", tmp_path / "s", tmp_path)
    one, all_ = Sounds(tmp_path / "s"), Sounds(world.sounds)
    for copy in ("clean", "codec_0", "codec_1", "telephone"):
        for row in few:
            assert np.array_equal(one.wave(row["clip_id"], copy), all_.wave(row["clip_id"], copy))


def test_a_teacher_says_all_of_its_classes_every_quarter_of_a_second(tmp_path):
    taught = World(tmp_path, taught=True)
    teacher = Sounds(taught.sounds).teacher
    assert taught.summary.n_taught == 26
    scores = teacher.clip("a/unknown-train-0")
    assert scores.shape == (8, 521)  # from 0 to 1.75 s of 2.5 s
    assert scores[:, 20].astype(float) == pytest.approx([0.8] * 8, abs=1e-3)
    assert teacher.clip("b/unknown-train-1")[:, 20].max() < 0.02


def test_copies_of_a_clip_differ_in_codec(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "crywatch.detection.robust.robust_sounds.codecs.through",
        lambda wave, rate, codec: seen.append(codec.name),
    )
    for number in range(2):
        apply_codec(np.ones(8_000, np.float32), "a/1", number, SOUNDS)
    assert len(set(seen)) == 2


def test_equal_inputs_give_equal_bytes_and_nothing_is_left(world, tmp_path):
    run(world.split.clips, SOUNDS, CHANNELS, "", tmp_path / "sounds", tmp_path / "work")
    assert files_sha256([tmp_path / "sounds"]) == files_sha256([world.sounds])
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert left == []


def test_a_killed_run_reads_no_clip_again(world, tmp_path, monkeypatch):
    made: list[str] = []

    def failing(wave, clip_id, number, config):
        if number == 1 and "b/other-train-2" in clip_id:
            raise KeyboardInterrupt
        made.append(f"{clip_id} {number}")
        return apply_codec(wave, clip_id, number, config)

    def again():
        run(world.split.clips, SOUNDS, CHANNELS, "", tmp_path / "sounds", tmp_path / "work")

    with monkeypatch.context() as patch:
        patch.setattr("crywatch.detection.robust.robust_sounds.apply_codec", failing)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert made and not (tmp_path / "sounds").exists()

    def counting(wave, clip_id, number, config):
        assert f"{clip_id} {number}" not in made
        return apply_codec(wave, clip_id, number, config)

    monkeypatch.setattr("crywatch.detection.robust.robust_sounds.apply_codec", counting)
    again()
    assert files_sha256([tmp_path / "sounds"]) == files_sha256([world.sounds])


def test_bad_values_are_named(world, tmp_path):
    def refused(config, yamnet=""):
        return run(world.split.clips, config, CHANNELS, yamnet, tmp_path / "s", tmp_path / "w")

    with pytest.raises(ConfigError, match=r"robust_sounds\.copies is 4"):
        refused(replace(SOUNDS, copies=4))
    for name in ("codec_gsm", "clean", "teacher"):
        with pytest.raises(ConfigError, match=rf"robust_sounds\.channel is '{name}'"):
            refused(replace(SOUNDS, channel=name))
    with pytest.raises(ConfigError, match=r"channels has no 'radio'"):
        refused(replace(SOUNDS, channel="radio"))
    with pytest.raises(ModelError, match=r"yamnet\.handle 'somewhere' cannot be loaded"):
        refused(SOUNDS, "somewhere")
    assert not (tmp_path / "s").exists()


def test_a_missing_store_says_what_to_run(tmp_path):
    with pytest.raises(ConfigError, match="dvc repro robust_sounds"):
        Sounds(tmp_path)
