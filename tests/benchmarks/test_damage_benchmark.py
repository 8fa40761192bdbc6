"""Damaged model folders, infants, tables and parameters: none is used as if it were whole."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from safetensors.torch import load_file

from benchmarks import damage
from crywatch.core import models
from crywatch.core.atomic import read_json


def test_nothing_damaged_is_used_and_nothing_raises_what_is_not_ours(tmp_path, capsys):
    target = tmp_path / "damage.json"
    assert damage.main(["--inputs", "90", "--json", str(target)]) == 0
    runs = {run["kind"]: run for run in read_json(target)["runs"]}
    assert list(runs) == ["model", "infant", "table", "parameters"]
    assert sum(run["refused"] + run["used"] for run in runs.values()) == 90
    assert runs["model"]["refused"] > 25 and runs["infant"]["refused"] > 3
    printed = capsys.readouterr().out
    assert all(kind in printed for kind in runs) and "MB" in printed


def test_what_is_used_or_raises_what_is_not_ours_is_wrong(tmp_path, monkeypatch):
    def careless(folder):
        weights = load_file(folder / models.WEIGHTS)
        return torch.cat([weights[name].flatten() for name in sorted(weights)]).numpy()

    victims = damage.make_victims(tmp_path / "whole")
    dense = next(victim for victim in victims if victim.folder.name == "dense")
    careless_dense = replace(dense, use=careless, refit=lambda folder: None)
    monkeypatch.setattr(damage, "make_victims", lambda folder: [careless_dense])
    (run,) = damage.damage(tmp_path, 300, random.Random(1))
    assert any("was used" in text for text in run.wrong), run.wrong
    assert any("SafetensorError" in text for text in run.wrong)
