"""The benchmark of embeddings runs on few sounds; how fast it was is not asserted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import embeddings
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import read_json
from crywatch.speaker.ecapa import EcapaConfig, build


def test_every_way_is_timed_and_written(tmp_path, capsys):
    target = tmp_path / "embeddings.json"
    threads = torch.get_num_threads()
    arguments = ["--sounds", "4", "--channels", "8", "--rounds", "2", "--json", str(target)]
    assert embeddings.main(arguments) == 0
    assert torch.get_num_threads() == threads
    runs = read_json(target)["runs"]
    expected = [("cries", 1), ("cries", 2), ("crops", 1), ("crops", 2)]
    assert [(run["kind"], run["threads"]) for run in runs] == expected
    printed = capsys.readouterr().out
    for run in runs:
        assert f"{run['a_second']:.1f}" in printed
        assert run["real_time"] == pytest.approx(run["a_second"] * run["mean_s"])
        assert 0 < run["low_ratio"] <= run["ratio"] <= run["high_ratio"]


def test_both_ways_give_the_same_vectors():
    assert embeddings.RATE_HZ == RATE_HZ
    ecapa = build(EcapaConfig("random", 8, []), 0).eval()
    cries = embeddings._sounds("cries", 60)
    lengths = [len(cry) for cry in cries]
    assert 1 < len(set(lengths)) < len(lengths)  # some are equal, as the batches need
    together = ecapa.embed(cries)
    apart = np.concatenate([ecapa.embed([cry]) for cry in cries])
    np.testing.assert_allclose(together, apart, atol=1e-5)
