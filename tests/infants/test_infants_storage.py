"""An infant goes to one file and comes back the same; nothing else comes back."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest

from crywatch.core.errors import ModelError
from crywatch.infants import storage
from crywatch.infants.conformal import calibrate, judge
from crywatch.infants.models import registry as models
from crywatch.infants.storage import StoredInfant
from tests.helpers import infants_cases as cases


@pytest.fixture
def stored() -> StoredInfant:
    baby = cases.infants(1, 12, session_clips=3)[0]
    return StoredInfant(calibrate(models.Cosine(), [baby], cases.conformal())[0], "cosine", "me")


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_judges_alike_after_storing(name, tmp_path):
    cohort = cases.infants(6, 4, seed=7, prefix="cohort")
    top_k = 3 if name in models.NORMALISED else 0
    model = models.build(name, cases.models_config(top_k, steps=10), 1, cohort)
    baby = cases.infants(1, 12, session_clips=3)[0]
    infant = calibrate(model, [baby], cases.conformal())[0]
    storage.save(tmp_path / "a.safetensors", StoredInfant(infant, name, "maker"))
    back = storage.load(tmp_path / "a.safetensors", "maker")
    assert (back.model, back.maker) == (name, "maker")
    assert asdict(back.calibrated.promise) == asdict(infant.promise)
    assert len(back.calibrated.models) == len(infant.models) == 4
    new = cases.infants(1, 5, seed=3)[0].vectors
    first, second = (judge(model, [one], [new])[0] for one in (infant, back.calibrated))
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.p, second.p)


def test_equal_infants_give_equal_bytes(stored, tmp_path):
    for name in "ab":
        storage.save(tmp_path / name, stored)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_another_maker_is_refused(stored, tmp_path):
    storage.save(tmp_path / "a", stored)
    assert storage.load(tmp_path / "a").maker == "me"
    with pytest.raises(ModelError, match="made with other settings"):
        storage.load(tmp_path / "a", "you")


def test_damage_is_named(stored, tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ModelError, match="no infant is stored"):
        storage.load(path)
    storage.save(path, stored)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(ModelError, match="a: cannot be read"):
        storage.load(path)
    length = struct.unpack("<Q", whole[:8])[0]
    head = json.loads(whole[8 : 8 + length])

    def rewrite(metadata: dict) -> None:
        new = json.dumps(head | {"__metadata__": metadata}).encode()
        path.write_bytes(struct.pack("<Q", len(new)) + new + whole[8 + length :])

    header = json.loads(head["__metadata__"]["infant"])
    rewrite({})
    with pytest.raises(ModelError, match="cannot be read"):
        storage.load(path)
    rewrite({"infant": json.dumps(header | {"version": 99})})
    with pytest.raises(ModelError, match="version 99 is not 1"):
        storage.load(path)
    del header["promise"]["method"]
    rewrite({"infant": json.dumps(header)})
    with pytest.raises(ModelError, match="cannot be read"):
        storage.load(path)


def test_arrays_that_cannot_be_of_one_infant_are_refused(stored, tmp_path):
    infant = stored.calibrated
    model, rest = infant.models[0], infant.models[1:]
    name = next(iter(model))
    wrong = {
        "scores": {"scores": infant.scores[1:]},
        "weights": {"weights": infant.weights * np.nan},
        "fold names models": {"fold": infant.fold + len(infant.models)},
        "model 0 holds what is no number": {
            "models": (model | {name: np.full_like(model[name], np.inf)}, *rest)
        },
    }
    for message, values in wrong.items():
        storage.save(tmp_path / "a", replace(stored, calibrated=replace(infant, **values)))
        with pytest.raises(ModelError, match=f"a: cannot be read .*{message}"):
            storage.load(tmp_path / "a")
