"""The trained robust network's numbers for every clip, resumable."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.digest import files_sha256
from crywatch.core.models import ModelFolder, load, save
from crywatch.data.features import FeatureStore
from crywatch.data.selection import sounds
from crywatch.detection.blazenet.network import FEATURES
from crywatch.detection.detectors import load_detector
from crywatch.detection.robust.embeddings import write_embeddings
from tests.helpers.calibrate_cases import write_sources
from tests.helpers.robust_model_cases import write_robust


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return [source.clips for source in write_sources(tmp_path_factory.mktemp("sounds"))]


@pytest.fixture(scope="module")
def made(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    model = write_robust(folder / "robust")
    write_embeddings(model, tables, folder / "out", folder / "work")
    return model, folder / "out"


def test_every_labelled_clip_has_the_detectors_numbers(tables, made):
    model, out = made
    clips = sounds(tables)
    store, detector = FeatureStore(out), load_detector(model)
    assert set(store) == set(clips["clip_id"]) and "a/unknown" not in store
    assert {"a/copy", "soundscapes/test-0"} <= set(store)  # duplicates and what is made of clips
    assert store.info.dim == FEATURES and store.corpora == ("a", "soundscapes")
    for clip_id, path in clips[["clip_id", "path"]].values[::7].tolist():
        np.testing.assert_array_equal(store.clip(clip_id), detector.features(read_clean(path)))


def test_a_killed_run_goes_on_to_the_same_bytes(tables, made, tmp_path, monkeypatch):
    model, out = made
    read, calls = read_clean, []

    def failing(path):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(path)
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr("crywatch.detection.robust.embeddings.read_clean", failing)
        with pytest.raises(KeyboardInterrupt):
            write_embeddings(model, tables, tmp_path / "out", tmp_path / "work")
    assert not (tmp_path / "out").exists()
    again = []
    monkeypatch.setattr(
        "crywatch.detection.robust.embeddings.read_clean",
        lambda path: again.append(path) or read(path),
    )
    write_embeddings(model, tables, tmp_path / "out", tmp_path / "work")
    assert not set(calls) & set(again)
    assert files_sha256([tmp_path / "out"]) == files_sha256([out])
    assert not (tmp_path / "work").exists()


def test_other_weights_and_settings_are_other_numbers(made, tmp_path):
    model = load(made[0])
    save(tmp_path, ModelFolder(model.description | {"name": "other"}, model.weights))
    digest = FeatureStore(made[1]).info.digest
    assert digest == files_sha256([made[0] / "model.json", made[0] / "model.safetensors"])
    assert digest != files_sha256([tmp_path / "model.json", tmp_path / "model.safetensors"])
