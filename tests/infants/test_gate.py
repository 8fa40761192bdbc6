"""The gate: what it lets in, why it refuses, and its folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crywatch.core import models
from crywatch.core.errors import ModelError
from crywatch.infants import gate as gates
from crywatch.infants.gate import BaselineGate, Head

CRY = Head(np.array([2.0, 0.0], dtype=np.float32), -1.0, 0.5)
DISTRESS = Head(np.array([0.0, 4.0], dtype=np.float32), 0.0, 0.9)
GATE = BaselineGate(CRY, DISTRESS, least_p=0.05)


def test_probability_by_hand():
    found = CRY.probability(np.array([[0.5, 9.0], [1.0, 0.0], [-100.0, 0.0]]))
    assert found == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 0], abs=1e-9)


def test_the_first_that_refuses_gives_the_reason():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    found = GATE.decide(vectors, np.array([0.05, 0.01, 0.01, 0.049]))
    assert found.accepted.tolist() == [True, False, False, False]
    assert found.sounds.tolist() == [True, False, False, True]
    assert found.reasons[0] is None
    kinds = [reason.split(":")[0] for reason in found.reasons[1:]]
    assert kinds == [gates.NOT_A_CRY, gates.DISTRESSED, gates.ABNORMAL]


def test_a_head_that_is_off_refuses_nothing():
    vectors = np.array([[-5.0, 5.0]])
    p = np.array([0.5])
    assert not GATE.decide(vectors, p).accepted[0]
    assert BaselineGate(None, None, 0.05).decide(vectors, p).accepted[0]


def test_no_recordings_are_no_decisions():
    found = GATE.decide(np.zeros((0, 2)), np.zeros(0))
    assert found.accepted.shape == (0,) and found.reasons == ()


@pytest.mark.parametrize(
    "gate",
    [GATE, replace(GATE, distress=None), BaselineGate(None, None, 0.2)],
    ids=["two", "one", "none"],
)
def test_a_gate_comes_back_from_its_folder(tmp_path, gate):
    gates.save(tmp_path, gate, {"digest": "a"})
    found = gates.load(tmp_path, "a")
    vectors = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    p = np.linspace(0, 0.4, 9)
    assert found.decide(vectors, p).reasons == gate.decide(vectors, p).reasons


def test_equal_gates_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        gates.save(tmp_path / name, GATE, {"digest": "d"})
    for name in (models.DESCRIPTION, models.WEIGHTS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_gate_of_another_network_is_refused(tmp_path):
    gates.save(tmp_path, GATE, {"digest": "one"})
    with pytest.raises(ModelError, match="another network"):
        gates.load(tmp_path, "two")


@pytest.mark.parametrize("name", [models.DESCRIPTION, models.WEIGHTS])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    gates.save(tmp_path, GATE, {"digest": "d"})
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(ModelError, match=f"{name}: not "):
        gates.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match=name):
        gates.load(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path):
    gates.save(tmp_path, GATE, {"kind": "ecapa"})
    with pytest.raises(ModelError, match="ecapa"):
        gates.load(tmp_path)
