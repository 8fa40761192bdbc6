"""What a card says that a model was never measured on."""

import pytest

from crywatch.core import paths
from crywatch.core.atomic import write_json
from crywatch.detection.decisions import Calibration, Decision
from crywatch.operations.register.card import unmeasured_kinds

DECISION = Decision(Calibration("platt"), (), 30.0, {"kinds": {"dog": 0.1}})


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.KINDS.parent.mkdir()
    paths.KINDS.write_text("dog: {}\ncat: {esc50: [cat]}\nhorn: {}\ninfant_cry: {}\nother: {}\n")
    rows = [{"system": "robust/robust", "kind": "horn"}, {"system": "robust/x", "kind": "cat"}]
    write_json(paths.EVALUATE_SYSTEMS / "tables.json", {"kinds": rows})


def test_kinds_that_neither_its_decision_nor_the_evaluation_heard_are_named(project):
    assert unmeasured_kinds(DECISION, "robust/robust") == ["cat"]
    assert unmeasured_kinds(DECISION, "") == ["cat", "horn"]
    assert unmeasured_kinds(None, "") == ["dog", "cat", "horn"]


def test_without_a_map_of_kinds_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unmeasured_kinds(DECISION, "robust/robust") == []
