"""Model folders that are damaged or put together are refused by all that load one, by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from crywatch.core.errors import ModelError
from crywatch.core.models import DESCRIPTION, WEIGHTS, ModelFolder, describe, load, save
from crywatch.detection.baselines.networks import AppNetwork, CnnNetwork, DenseNetwork
from crywatch.detection.detectors import load_detector
from crywatch.infants import gate as gates
from crywatch.speaker import ecapa
from tests.detection import test_detectors
from tests.helpers import store_cases

# Fixture: a model folder of each kind of detector that has a backbone or an embedder.
folders = test_detectors.folders
KINDS = ["blazenet", "robust", "rtfm", "miner", "svc", "dense", "cnn", "app", "ecapa", "gate"]


@pytest.fixture(scope="module")
def every(folders):
    """And one of each other kind."""
    about = {"classes": ["crying", "noise"], "window_s": 1.0}
    svc = {
        "mean": (18,),
        "scale": (18,),
        "support": (5, 18),
        "counts": (2,),
        "dual": (1, 5),
        "intercept": (1,),
        "gamma": (1,),
    }
    arrays = {f"svc.{name}": torch.ones(shape, dtype=torch.float64) for name, shape in svc.items()}
    arrays["svc.counts"] = torch.tensor([2.0, 3.0], dtype=torch.float64)
    networks = {
        "dense": (DenseNetwork(18, 8, 2), {"hidden": 8}),
        "cnn": (CnnNetwork(4, 2), {"filters": 4}),
        "app": (AppNetwork(2), {"window_s": 4.0}),
    }
    models = {"svc": ModelFolder(about | {"kind": "svc", "name": "svc"}, arrays)}
    for kind, (network, shape) in networks.items():
        weights = {f"network.{name}": value for name, value in network.state_dict().items()}
        models[kind] = ModelFolder(about | shape | {"kind": kind, "name": kind}, weights)
    for kind, model in models.items():
        save(folders / kind, model)
    store_cases.save_network(folders / "ecapa", seed=1)
    head = gates.Head(np.ones(4, dtype=np.float32), 0.0, 0.5)
    gates.save(folders / "gate", gates.BaselineGate(head, None, 0.1), {"digest": "d"})
    return folders


def use(folder):
    kind = describe(folder)["kind"]
    if kind == "ecapa":
        return ecapa.from_model(load(folder))
    return gates.load(folder) if kind == "gate" else load_detector(folder)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 1
    path.write_bytes(data)


def another(path):
    """A file that is whole, and of another model of the same kind."""
    model = load(path.parent)
    weights = {name: 2 * value for name, value in model.weights.items()}
    save(path.parent / "x", ModelFolder(model.description | {"name": "x"}, weights))
    shutil.move(path.parent / "x" / path.name, path)


HARM = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit": flip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "another's": another,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_model_is_never_used(every, tmp_path, kind):
    use(every / kind)
    for harm, work in HARM.items():
        for file in (DESCRIPTION, WEIGHTS):
            folder = shutil.copytree(every / kind, tmp_path / f"{kind} {harm} {file}")
            work(folder / file)
            # The weights of another model are whole: its description is what tells.
            named = WEIGHTS if harm == "another's" else file
            with pytest.raises(ModelError, match=f"{named}.*dvc repro") as refused:
                use(folder)
            assert str(folder) in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_no_numbers_or_of_another_shape_are_never_used(every, tmp_path, kind):
    model = load(every / kind)

    def refused(weights, message):
        save(tmp_path, replace(model, weights=weights))
        with pytest.raises(ModelError, match=message):
            use(tmp_path)

    floats = [name for name, value in model.weights.items() if value.is_floating_point()]
    for value in (float("nan"), float("-inf")):
        broken = model.weights[floats[-1]].clone()
        broken.view(-1)[-1] = value
        refused(model.weights | {floats[-1]: broken}, f"{floats[-1]} holds what is no number")
    for name in (floats[0], floats[-1]):
        # A head of a gate has the length of whatever vectors there are: only its axes tell.
        refused(model.weights | {name: model.weights[name][None]}, "dvc repro")
    refused({}, "dvc repro")


def test_a_folder_of_an_earlier_crywatch_has_no_digests(every, tmp_path):
    folder = shutil.copytree(every / "robust", tmp_path / "robust")
    description = json.loads((folder / DESCRIPTION).read_text())
    del description["sha256"]
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert load(folder).description == load(every / "robust").description
    use(folder)


@pytest.mark.parametrize("text", ['{"kind": "robust", "x": NaN}', "[" * 100_000, '"kind"', "\xff"])
def test_a_description_that_is_none_is_named(every, tmp_path, text):
    folder = shutil.copytree(every / "robust", tmp_path / "robust")
    (folder / DESCRIPTION).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=f"{DESCRIPTION}: not .*dvc checkout"):
        use(folder)


def test_what_is_read_is_saved_as_it_was(every, tmp_path):
    save(tmp_path, load(every / "robust"))
    for file in (DESCRIPTION, WEIGHTS):
        assert (tmp_path / file).read_bytes() == (every / "robust" / file).read_bytes()
