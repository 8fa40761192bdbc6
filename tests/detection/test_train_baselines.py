"""Stage ``train_baselines``: models that a detector reads, by class, channel and seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from crywatch.audio.channels import channel
from crywatch.audio.segments import n_segments
from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, ModelError, TableError
from crywatch.core.models import ModelFolder, load, save
from crywatch.data.tables import read_table, write_table
from crywatch.data.tables.clips import EVENTS, SPLIT_CLIPS
from crywatch.detection.baselines.train_baselines import (
    BaselineConfig,
    NetworkConfig,
    SizedNetworkConfig,
    SvcConfig,
    TrainBaselinesConfig,
    class_of,
    run,
)
from crywatch.detection.detectors import load_detector
from tests.helpers.baseline_cases import made, world

CONFIG = TrainBaselinesConfig(
    classes={"silence": ["silence"], "laugh": ["baby_laugh", "laughing"]},
    svc=SvcConfig(c=[1.0, 10.0], gamma=[0.05]),
    dense=SizedNetworkConfig(width=16, lr=0.01, batch_size=16, epochs=20, patience_epochs=5),
    cnn=SizedNetworkConfig(width=2, lr=0.003, batch_size=32, epochs=4, patience_epochs=2),
    app=NetworkConfig(lr=0.003, batch_size=16, epochs=6, patience_epochs=4),
    models={
        "svc": BaselineConfig("svc"),
        "dense": BaselineConfig("dense"),
        "dense_s2": BaselineConfig("dense", seed=2),
        "cnn": BaselineConfig("cnn"),
        "app": BaselineConfig("app"),
        "svc_no_mixed": BaselineConfig("svc", leave_out="mixed"),
        "forest": BaselineConfig("forest"),
    },
)
KINDS = ["svc", "dense", "cnn", "app"]
AS_IS = channel("as_is", {"as_is": []})
DULL = channel("dull", {"dull": [{"band": {"high_hz": 1000}}]})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    """A model folder of each kind."""
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        run(kind, CONFIG, AS_IS, source, 1.0, root / kind)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_the_detector_tells_cries_from_others(folder, kind):
    detector = load_detector(folder / kind)
    cry, rain = (detector.score(made(name, 555)) for name in ("crying_baby", "rain"))
    assert cry.shape == rain.shape == (6,)
    assert cry.min() > rain.max()


@pytest.mark.parametrize("kind", KINDS)
def test_every_plain_second_has_a_score_whatever_the_chunks(folder, kind):
    detector = load_detector(folder / kind)
    for n_samples in (1, 9_000, 23_999, 24_001, 7 * 16_000 + 8_100):
        wave = np.resize(made("crying_baby", 3), n_samples)
        scores = detector.score(wave)
        assert scores.shape == (n_segments(n_samples),)
        assert ((scores >= 0) & (scores <= 1)).all()
        chunks = (wave[start : start + 5_000] for start in range(0, n_samples, 5_000))
        np.testing.assert_allclose(detector.score_stream(chunks), scores, atol=1e-6)
    assert detector.score(np.zeros(0, dtype=np.float32)).shape == (0,)
    assert np.isfinite(detector.score(np.zeros(48_000, dtype=np.float32))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_says_what_it_is(folder, kind):
    description = read_json(folder / kind / "model.json")
    assert description["kind"] == description["name"] == kind
    others = ["noise"] if kind == "app" else ["silence", "laugh", "noise"]
    assert description["classes"] == ["crying", *others]
    assert description["corpora"] == ["cries", "mixed", "sounds"]
    assert (
        description["trained_on"]["windows_n"]
        == read_json(folder / kind / "metrics.json")["train_windows"]
    )
    # 21 clips of 6 s: two windows of 5 s each, three of 4 s, or six seconds.
    windows = {"svc": 2, "dense": 2, "cnn": 6, "app": 3}
    assert description["trained_on"]["windows_n"] == 21 * windows[kind]
    assert load_detector(folder / kind).n_parameters == description["parameters"]
    assert len(pd.read_csv(folder / kind / "history.csv")) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_equal_inputs_give_equal_bytes(folder, source, tmp_path, kind):
    run(kind, CONFIG, AS_IS, source, 1.0, tmp_path / kind)
    for name in ("model.json", "model.safetensors", "metrics.json", "history.csv"):
        assert (tmp_path / kind / name).read_bytes() == (folder / kind / name).read_bytes()


def test_another_seed_gives_another_network(folder, source, tmp_path):
    run("dense_s2", CONFIG, AS_IS, source, 1.0, tmp_path / "dense_s2")
    name = "network.hidden.weight"
    first, other = (load(path).weights[name] for path in (folder / "dense", tmp_path / "dense_s2"))
    assert not np.array_equal(first, other)


def test_training_clips_go_through_the_channel(folder, source, tmp_path):
    run("svc", CONFIG, DULL, source, 1.0, tmp_path / "svc")
    plain, dull = (load(path).weights["svc.mean"] for path in (folder / "svc", tmp_path / "svc"))
    bandwidth = -1
    assert dull[bandwidth] < 0.7 * plain[bandwidth]


def test_a_corpus_left_out_is_not_heard(source, tmp_path):
    summary = run("svc_no_mixed", CONFIG, AS_IS, source, 1.0, tmp_path / "svc")
    assert summary.corpora == ("cries", "sounds")
    # Its classes went with it.
    assert summary.classes == ("crying", "noise")
    detector = load_detector(tmp_path / "svc")
    cry, rain = (detector.score(made(name, 555)) for name in ("crying_baby", "rain"))
    assert cry.min() > rain.max()


def test_windows_without_a_cry_of_a_strongly_labelled_clip_are_noise(source, tmp_path):
    """A clip that is said to cry in its last second only, in which the first window is not."""
    clips = read_table(source.clips, SPLIT_CLIPS)
    clip_id = "cries/crying_baby-train-0"
    events = pd.DataFrame(
        [(clip_id, 5.0, 6.0, "cry")], columns=["clip_id", "onset_s", "offset_s", "label"]
    )
    write_table(events, tmp_path / "events.parquet", EVENTS)
    write_table(clips, tmp_path / "clips.parquet", SPLIT_CLIPS)
    from crywatch.data.truth import Truth
    from crywatch.detection.baselines.train_baselines import KINDS as GIVEN
    from crywatch.detection.baselines.train_baselines import _read_windows

    one = clips[clips["clip_id"] == clip_id]
    found = _read_windows(one, CONFIG.classes, GIVEN["svc"], Truth(one, events), AS_IS)
    assert found.classes.tolist() == ["noise", "crying"]


def test_classes_by_label_and_category():
    assert class_of("cry", "silence", CONFIG.classes) == "crying"
    assert class_of("other", "laughing", CONFIG.classes) == "laugh"
    assert class_of("other", "silence", CONFIG.classes) == "silence"
    assert class_of("other", "door_wood_knock", CONFIG.classes) == "noise"


def test_what_cannot_be_trained_is_told(source, tmp_path):
    with pytest.raises(ConfigError, match="'forest' is unknown; there are svc, dense, cnn, app"):
        run("forest", CONFIG, AS_IS, source, 1.0, tmp_path / "x")
    with pytest.raises(ConfigError, match=r"train_baselines\.models has no 'tree'"):
        run("tree", CONFIG, AS_IS, source, 1.0, tmp_path / "x")
    clips = read_table(source.clips, SPLIT_CLIPS)
    write_table(clips[clips["label"] == "cry"], tmp_path / "clips.parquet", SPLIT_CLIPS)
    alone = replace(source, clips=tmp_path / "clips.parquet")
    with pytest.raises(TableError, match="lacks cries or other sounds"):
        run("svc", CONFIG, AS_IS, alone, 1.0, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_does_not_fit_is_named(folder, tmp_path, kind):
    model = load(folder / kind)
    first = sorted(model.weights)[0]
    weights = {name: value for name, value in model.weights.items() if name != first}
    save(tmp_path, ModelFolder(model.description, weights))
    with pytest.raises(ModelError) as refused:
        load_detector(tmp_path)
    assert str(tmp_path) in str(refused.value)
    described = {k: v for k, v in model.description.items() if k != "classes"}
    save(tmp_path, ModelFolder(described, model.weights))
    with pytest.raises(ModelError, match="no 'classes'"):
        load_detector(tmp_path)


@pytest.mark.parametrize("kind", ["cnn", "app"])
def test_one_file_of_the_network_hears_sound(folder, tmp_path, kind):
    """The graph makes the features: whoever runs it needs no code but torch's own."""
    detector = load_detector(folder / kind)
    wave = made("crying_baby", 7, detector.window_s)
    waves = torch.from_numpy(wave)[None]
    torch.export.save(torch.export.export(detector.network, (waves,)), tmp_path / "network.pt2")
    graph = torch.export.load(tmp_path / "network.pt2")
    shares = graph.module()(waves).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(shares, detector.shares([wave]), atol=1e-5)
    # No transform of Fourier's: what runs on phones has products, and seldom that.
    names = [str(node.target) for node in graph.graph.nodes]
    assert not [name for name in names if "fft" in name] and any("log" in name for name in names)
