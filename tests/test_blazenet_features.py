"""Stages ``blazenet_features`` and ``embed_blazenet``: stored once, streamed, resumable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from blazenet_cases import FIVE_SECONDS, ONE_SECOND, picture_store, sound, write_clips
from crywatch import blazenet_features, embed_blazenet
from crywatch.audio import read_clean, write_flac
from crywatch.blazenet.frontend import SCALE_DB, from_wave
from crywatch.blazenet.network import BlazeNet
from crywatch.blazenet_features import BlazenetFeaturesConfig, folder_name
from crywatch.digest import files_sha256
from crywatch.embed_blazenet import EmbedBlazenetConfig
from crywatch.errors import CrywatchError
from crywatch.features import FeatureStore
from crywatch.models import ModelFolder, load, save

CONFIG = BlazenetFeaturesConfig(
    rate_hz=8000,
    n_mels=64,
    window_s=0.064,
    hop_s=0.01475,
    fmin_hz=0.0,
    fmax_hz=8000.0,
    top_db=80.0,
    segments_s=[1.0, 5.0],
)
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
    return blazenet_features.run(tables, CONFIG, folder / "out", folder / "work")


def test_every_labelled_clip_has_its_pictures(tables, tmp_path):
    summary = run(tables, tmp_path)
    store = FeatureStore(tmp_path / "out" / "1s")
    assert set(store) == {*DURATIONS_S, "untrimmed/0001"}
    assert store.corpora == ("a", "b", "untrimmed")
    assert summary.n_clips == 6
    assert summary.n_segments["1s"] == store.n_rows == 1 + 3 + 5 + 8 + 1 + 8
    clips = pd.read_parquet(tables[0]).set_index("clip_id")
    for clip_id in DURATIONS_S:
        exact = from_wave(read_clean(clips.loc[clip_id, "path"]), ONE_SECOND).numpy()
        stored = store.clip(clip_id).reshape(exact.shape).astype(np.float32)
        assert np.abs(stored - exact).max() * SCALE_DB <= 0.02  # dB


def test_the_5_s_front_end_has_its_own_store(tables, tmp_path):
    run(tables, tmp_path)
    one, five = (FeatureStore(tmp_path / "out" / name) for name in ("1s", "5s"))
    assert one.info.digest != five.info.digest
    assert five.info.segment_s == 5.0
    index = pd.read_parquet(tmp_path / "out" / "5s" / "b.parquet")
    assert index["clip_id"].tolist() == ["b/long", "b/long", "b/short"]
    assert index["start_s"].tolist() == [0.0, 5.0, 0.0]
    clips = pd.read_parquet(tables[0]).set_index("clip_id")
    exact = from_wave(read_clean(clips.loc["b/long", "path"]), FIVE_SECONDS).numpy()
    np.testing.assert_allclose(five.clip("b/long").reshape(exact.shape), exact, atol=1e-3)


def test_an_interrupted_stage_goes_on_to_the_same_bytes(tables, tmp_path, monkeypatch):
    run(tables, tmp_path / "undisturbed")
    read = []

    def failing(path):
        if len(read) == 4:
            raise KeyboardInterrupt
        read.append(path)
        return read_clean(path)

    monkeypatch.setattr(blazenet_features, "read_clean", failing)
    with pytest.raises(KeyboardInterrupt):
        run(tables, tmp_path / "killed")
    assert not (tmp_path / "killed" / "out").exists()

    later = []
    monkeypatch.setattr(
        blazenet_features, "read_clean", lambda path: later.append(path) or read_clean(path)
    )
    run(tables, tmp_path / "killed")
    assert len(later) == 6 + 6 - 4  # nothing is decoded twice for the same front end
    outs = [files_sha256([tmp_path / name / "out"]) for name in ("undisturbed", "killed")]
    assert outs[0] == outs[1]
    assert not list((tmp_path / "killed" / "work").iterdir())


def test_a_front_end_that_is_not_configured_is_named():
    with pytest.raises(CrywatchError, match=r"segments_s lacks 2\.0"):
        CONFIG.front_end(2.0)
    assert (CONFIG.front_end(1.0), CONFIG.front_end(5.0)) == (ONE_SECOND, FIVE_SECONDS)
    assert (folder_name(1.0), folder_name(5.0)) == ("1s", "5s")


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(3)
    weights = {f"backbone.{name}": value for name, value in BlazeNet().state_dict().items()}
    folder = tmp_path / "model"
    folder.mkdir()
    save(folder, ModelFolder({"kind": "blazenet", "name": "all_1s", "segment_s": 1.0}, weights))
    return folder


CLIPS = {"a/1": 5, "a/2": 1, "a/3": 4, "b/1": 9}


def embed(model, pictures, folder, batch_size):
    return embed_blazenet.run(
        model,
        pictures,
        EmbedBlazenetConfig(batch_size, ["all_1s"]),
        folder,
        folder.with_name("work"),
    )


def test_embeddings_are_the_networks_features_whatever_the_batch(model, tmp_path):
    pictures = picture_store(tmp_path / "pictures", CLIPS, {"a/1"})
    network = BlazeNet().eval()
    network.load_state_dict(load(model).part("backbone"))
    source = FeatureStore(pictures)
    for batch_size in (1, 6, 256):
        out = tmp_path / f"out{batch_size}"
        assert embed(model, pictures, out, batch_size).n_seconds == 19
        store = FeatureStore(out)
        assert (store.info.dim, list(store)) == (224, list(CLIPS))
        for clip_id in CLIPS:
            rows = torch.from_numpy(source.clip(clip_id).astype(np.float32)).reshape(-1, 64, 64)
            with torch.inference_mode():
                expected = network.features(rows).numpy()
            np.testing.assert_allclose(store.clip(clip_id), expected, rtol=1e-4, atol=1e-5)


def test_interrupted_embedding_goes_on(model, tmp_path, monkeypatch):
    pictures = picture_store(tmp_path / "pictures", CLIPS, {"a/1"})
    embed(model, pictures, tmp_path / "x" / "undisturbed", 1)
    forward, calls = embed_blazenet._forward, []

    def failing(held, network):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(held)
        return forward(held, network)

    monkeypatch.setattr(embed_blazenet, "_forward", failing)
    with pytest.raises(KeyboardInterrupt):
        embed(model, pictures, tmp_path / "y" / "killed", 1)
    monkeypatch.setattr(
        embed_blazenet, "_forward", lambda *given: calls.append(given) or forward(*given)
    )
    embed(model, pictures, tmp_path / "y" / "killed", 1)
    assert len(calls) == len(CLIPS)
    outs = [files_sha256([tmp_path / name]) for name in ("x/undisturbed", "y/killed")]
    assert outs[0] == outs[1]
