"""The benchmark of scale: its arithmetic by hand, and a small run without a cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crywatch.core.atomic import read_json


@pytest.fixture
def scale(monkeypatch):
    """The script as `python -m benchmarks.scale` sees itself; what it sets is put back."""
    import torch

    from benchmarks import machine, scale

    for name in (*machine.ONE_THREAD, "CUDA_VISIBLE_DEVICES", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "")
    threads = torch.get_num_threads()
    yield scale
    torch.set_num_threads(threads)


def test_the_slowest_of_three_bounds_holds(scale):
    rates = scale.Rates("logmel", 100, 50.0, {1: 40.0, 2: 36.0}, 2000.0, 200_000, 5120)
    fleet = scale.Fleet(cores=10, price=0.5, storage_mb_s=1000.0, start_s=360.0)
    one = scale.project(rates, fleet, 1)
    assert (one.bound, one.rate) == ("cores", pytest.approx(360.0))
    assert one.hours == pytest.approx(0.1 + 2_084_320 / 360 / 3600)
    assert replace(rates, ray={}).core == 50.0
    assert one.cost == pytest.approx(0.5 * one.hours)
    many = scale.project(rates, fleet, 100)
    assert (many.bound, many.rate) == ("writer", 2000.0)
    assert many.cost == pytest.approx(100 * 0.5 * many.hours)
    slow = scale.project(rates, replace(fleet, storage_mb_s=100.0), 10)
    assert (slow.bound, slow.rate) == ("storage", pytest.approx(500.0))


def test_it_runs_without_a_cluster(scale, tmp_path, capsys):
    target = tmp_path / "scale.json"
    arguments = ["--clips", "3", "--rounds", "1", "--tasks", "--json", str(target)]
    assert scale.main(arguments) == 0
    run = read_json(target)["runs"][0]
    assert run["embedder"] == "logmel" and run["local"] > 0 and run["ray"] == {}
    assert run["audio_bytes"] > 10_000 and run["vector_bytes"] == 5120
    printed = capsys.readouterr().out
    assert printed.count("| cores |") + printed.count("| storage |") == 3
