"""Stage ``pictures``: pictures made once, streamed, resumable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from crywatch.audio.waves.cleaned import read_clean, write_flac
from crywatch.core.digest import files_sha256
from crywatch.core.errors import CrywatchError
from crywatch.data.features import FeatureStore
from crywatch.detection.blazenet import pictures
from crywatch.detection.blazenet.frontend import SCALE_DB, from_wave
from crywatch.detection.blazenet.pictures import PictureConfig, PicturesConfig, folder_name
from tests.helpers.blazenet_cases import FIVE_SECONDS, IMAGE, ONE_SECOND, sound, write_clips
from tests.helpers.code_cases import edit

SHARED = {name: value for name, value in ONE_SECOND.as_dict().items() if name != "segment_s"}
CONFIG = PicturesConfig({"ours": PictureConfig(**SHARED, segments_s=[1.0, 5.0])})
DURATIONS_S = {"a/one": 1.0, "a/two": 2.6, "a/five": 5.0, "b/long": 7.6, "b/short": 0.2}


@pytest.fixture
def tables(tmp_path):
    """Two corpora and an untrimmed recording; one clip has no label."""
    rows = []
    for number, (clip_id, duration_s) in enumerate(DURATIONS_S.items()):
        path = tmp_path / "audio" / f"{clip_id.replace('/', '-')}.flac"
        write_flac(path, sound(round(duration_s * 16_000), number))
        label = "cry" if number % 2 else "other"
        rows.append({"clip_id": clip_id, "label": label, "split": "train", "path": str(path)})
    unlabelled = rows[0] | {"clip_id": "a/unknown", "label": "unknown"}
    untrimmed = rows[3] | {"clip_id": "untrimmed/0001"}
    return [
        write_clips(tmp_path / "split.parquet", [*rows, unlabelled]),
        write_clips(tmp_path / "untrimmed.parquet", [untrimmed]),
    ]


def run(tables, folder):
    return pictures.run(tables, CONFIG, folder / "out", folder / "work")


def test_every_labelled_clip_has_its_pictures(tables, tmp_path):
    summary = run(tables, tmp_path)
    store = FeatureStore(tmp_path / "out" / "ours_1s")
    assert set(store) == {*DURATIONS_S, "untrimmed/0001"}
    assert store.corpora == ("a", "b", "untrimmed")
    assert summary.n_clips == 6
    assert summary.n_segments["ours_1s"] == store.n_rows == 1 + 3 + 5 + 8 + 1 + 8
    clips = pd.read_parquet(tables[0]).set_index("clip_id")
    for clip_id in DURATIONS_S:
        exact = from_wave(read_clean(clips.loc[clip_id, "path"]), ONE_SECOND).numpy()
        stored = store.clip(clip_id).reshape(exact.shape).astype(np.float32)
        assert np.abs(stored - exact).max() * SCALE_DB <= 0.02  # dB


def test_the_5_s_front_end_has_its_own_store(tables, tmp_path):
    run(tables, tmp_path)
    one, five = (FeatureStore(tmp_path / "out" / name) for name in ("ours_1s", "ours_5s"))
    assert one.info.digest != five.info.digest
    assert five.info.segment_s == 5.0
    index = pd.read_parquet(tmp_path / "out" / "ours_5s" / "b.parquet")
    assert index["clip_id"].tolist() == ["b/long", "b/long", "b/short"]
    assert index["start_s"].tolist() == [0.0, 5.0, 0.0]
    clips = pd.read_parquet(tables[0]).set_index("clip_id")
    exact = from_wave(read_clean(clips.loc["b/long", "path"]), FIVE_SECONDS).numpy()
    np.testing.assert_allclose(five.clip("b/long").reshape(exact.shape), exact, atol=1e-3)


def test_each_front_end_has_its_own_pictures(tables, tmp_path):
    image = PictureConfig(**SHARED | {"fmax_hz": 4000.0, "scale": "minmax"}, segments_s=[1.0])
    config = PicturesConfig(CONFIG.front_ends | {"author": image})
    assert config.front_end("author", 1.0) == IMAGE
    pictures.run(tables, config, tmp_path / "out", tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "author_1s",
        "ours_1s",
        "ours_5s",
    ]
    clips = pd.read_parquet(tables[0]).set_index("clip_id")
    exact = from_wave(read_clean(clips.loc["a/five", "path"]), IMAGE, torch.float64).numpy()
    stored = FeatureStore(tmp_path / "out" / "author_1s").clip("a/five").reshape(exact.shape)
    np.testing.assert_array_equal(np.round(stored.astype(float) * 255), np.round(exact * 255))


def test_a_front_end_that_cannot_be_is_named():
    wrong = PictureConfig(**SHARED | {"scale": "minmax"}, segments_s=[1.0])
    with pytest.raises(CrywatchError, match=r"front_ends\.author\.fmax_hz is 8000, above the Nyq"):
        PicturesConfig({"author": wrong}).front_end("author", 1.0)


def stopping_at_the_fifth():
    """`read_clean` of four clips, then a stop from outside."""
    read = []

    def failing(path):
        if len(read) == 4:
            raise KeyboardInterrupt
        read.append(path)
        return read_clean(path)

    return failing


def test_an_interrupted_stage_goes_on_to_the_same_bytes(tables, tmp_path, monkeypatch):
    run(tables, tmp_path / "undisturbed")
    monkeypatch.setattr(pictures, "read_clean", stopping_at_the_fifth())
    with pytest.raises(KeyboardInterrupt):
        run(tables, tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists()

    later = []
    monkeypatch.setattr(pictures, "read_clean", lambda path: later.append(path) or read_clean(path))
    run(tables, tmp_path / "killed")
    assert len(later) == 6 + 6 - 4  # nothing is decoded twice for the same front end
    outs = [files_sha256([tmp_path / name / "out"]) for name in ("undisturbed", "killed")]
    assert outs[0] == outs[1]
    assert not (tmp_path / "killed" / "work").exists()


def test_pictures_of_other_code_are_made_again(tables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        edit(patch, "data/selection.py")
        patch.setattr(pictures, "read_clean", stopping_at_the_fifth())
        with pytest.raises(KeyboardInterrupt):
            run(tables, tmp_path)
    later = []
    monkeypatch.setattr(pictures, "read_clean", lambda path: later.append(path) or read_clean(path))
    run(tables, tmp_path)
    assert len(later) == 6 + 6


def test_a_front_end_that_is_not_configured_is_named():
    with pytest.raises(CrywatchError, match=r"front_ends\.ours\.segments_s lacks 2\.0"):
        CONFIG.front_end("ours", 2.0)
    assert tuple(CONFIG.front_end("ours", length) for length in (1.0, 5.0)) == (
        ONE_SECOND,
        FIVE_SECONDS,
    )
    assert folder_name("ours", 5.0) == "ours_5s"
