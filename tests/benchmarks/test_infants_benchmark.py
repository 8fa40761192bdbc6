"""The benchmark of stage 2 runs on few infants; how fast it was is not asserted."""

from __future__ import annotations

import pytest

from benchmarks import infants
from crywatch.core.atomic import read_json
from crywatch.infants.models.registry import MODELS, NORMALISED


def test_every_model_is_timed_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(infants, "MANY", 3)
    target = tmp_path / "infants.json"
    arguments = ["--infants", "3", "4", "--alone", "2", "--rounds", "1", "--json", str(target)]
    assert infants.main(arguments) == 0
    runs = read_json(target)["runs"]
    # Above `MANY` only the vectorised ones.
    assert [(run["model"], run["infants"]) for run in runs] == [
        *((name, 3) for name in MODELS[: -len(NORMALISED)]),
        *((name, count) for name in NORMALISED for count in (3, 4)),
    ]
    printed = capsys.readouterr().out
    for run in runs:
        assert run["model"] in printed and run["alone"] == 2
        assert run["a_second"] == pytest.approx(run["infants"] / run["seconds"])
        assert 0 < run["low_ratio"] <= run["ratio"] <= run["high_ratio"]
