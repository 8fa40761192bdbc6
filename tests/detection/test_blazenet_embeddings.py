"""The trained BlazeNet's numbers for every second, in any batch, resumable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crywatch.core.digest import files_sha256
from crywatch.core.models import ModelFolder, load, save
from crywatch.data.features import FeatureStore
from crywatch.detection.blazenet.embeddings import write_embeddings
from crywatch.detection.blazenet.network import BlazeNet
from tests.helpers.blazenet_cases import picture_store
from tests.helpers.code_cases import edit


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
    write_embeddings(model, pictures, folder, folder.with_name("work"), batch_size)


def interrupted(forward, calls):
    """``forward`` that notes its calls and is stopped at the third."""

    def failing(held, network):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(held)
        return forward(held, network)

    return failing


def test_work_that_other_inputs_left_is_removed(model, tmp_path):
    left = tmp_path / "work" / "0123456789abcdef"
    left.mkdir(parents=True)
    (left / "a.part").touch()
    embed(model, picture_store(tmp_path / "pictures", CLIPS, {"a/1"}), tmp_path / "out", 8)
    assert not (tmp_path / "work").exists()


def test_embeddings_are_the_networks_features_whatever_the_batch(model, tmp_path):
    pictures = picture_store(tmp_path / "pictures", CLIPS, {"a/1"})
    network = BlazeNet().eval()
    network.load_state_dict(load(model).part("backbone"))
    source = FeatureStore(pictures)
    for batch_size in (1, 6, 256):
        out = tmp_path / f"out{batch_size}"
        embed(model, pictures, out, batch_size)
        store = FeatureStore(out)
        assert (store.info.dim, store.n_rows, list(store)) == (224, 19, list(CLIPS))
        assert store.info.name == "blazenet all_1s"
        for clip_id in CLIPS:
            rows = torch.from_numpy(source.clip(clip_id).astype(np.float32)).reshape(-1, 64, 64)
            with torch.inference_mode():
                expected = network.features(rows).numpy()
            np.testing.assert_allclose(store.clip(clip_id), expected, rtol=1e-4, atol=1e-5)


def test_interrupted_embedding_goes_on(model, tmp_path, monkeypatch):
    pictures = picture_store(tmp_path / "pictures", CLIPS, {"a/1"})
    embed(model, pictures, tmp_path / "x" / "undisturbed", 1)
    forward, calls = BlazeNet.features, []

    monkeypatch.setattr(BlazeNet, "features", interrupted(forward, calls))
    with pytest.raises(KeyboardInterrupt):
        embed(model, pictures, tmp_path / "y" / "killed", 1)
    monkeypatch.setattr(BlazeNet, "features", lambda *given: calls.append(given) or forward(*given))
    embed(model, pictures, tmp_path / "y" / "killed", 1)
    assert len(calls) == len(CLIPS)
    outs = [files_sha256([tmp_path / name]) for name in ("x/undisturbed", "y/killed")]
    assert outs[0] == outs[1]


def test_numbers_of_other_code_are_made_again(model, tmp_path, monkeypatch):
    pictures = picture_store(tmp_path / "pictures", CLIPS, {"a/1"})
    forward, calls = BlazeNet.features, []

    with monkeypatch.context() as patch:
        edit(patch, "data/features.py")
        patch.setattr(BlazeNet, "features", interrupted(forward, calls))
        with pytest.raises(KeyboardInterrupt):
            embed(model, pictures, tmp_path / "out", 1)
    later = []
    monkeypatch.setattr(BlazeNet, "features", lambda *given: later.append(given) or forward(*given))
    embed(model, pictures, tmp_path / "out", 1)
    assert len(later) == len(CLIPS)
