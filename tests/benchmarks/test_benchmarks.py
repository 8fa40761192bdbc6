"""The benchmark runs on tiny inputs and says what it should; how fast it was is not asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import speed
from benchmarks.peers import plain_copy
from benchmarks.rounds import Case, Comparison, measure
from crywatch.core.atomic import read_json
from crywatch.detection.blazenet.network import BlazeNet

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]


def test_every_comparison_is_printed_and_written(tmp_path, capsys):
    target = tmp_path / "speed.json"
    options = ["--seconds", "3", "--recording-seconds", "6", "--memory", "2"]
    assert speed.main([*options, "--rounds", "1", "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    report = read_json(target)
    assert [one["name"] for one in report["comparisons"]] == list(speed.COMPARISONS)
    cases = {one["name"]: {t["name"]: t for t in one["timings"]} for one in report["comparisons"]}
    assert {"wav 44.1 kHz", "ogg 44.1 kHz", "3gp 8 kHz", "m4a 44.1 kHz", "mp3 44.1 kHz"} < set(
        cases["clean"]
    )
    assert {"front end", "embedder logmel", "BlazeNet, batch 1", "BlazeNet, batch 256"} < set(
        cases["inference"]
    )
    assert set(cases["detector"]) == {
        "decoding alone",
        "detector, file to events",
        "detector, samples to events",
        "same, context live",
    }
    assert report["peaks_mb"]["2"] > 50
    assert "2 s: " in printed
    assert set(cases["train"]) == {"training step", "plain training step"}
    for comparison in report["comparisons"]:
        for timing in comparison["timings"]:
            assert timing["name"] in printed
            assert 0 < timing["low_ms"] <= timing["ms"] <= timing["high_ms"]
            # Cleaning is held against real time, which is no case.
            assert (timing["ratio"] is None) == (comparison["name"] == "clean")
    # Without YAMNet's file there is nothing to hold inference against.
    assert len(report["targets"]) == 3
    assert "targets" in printed


def test_rounds_alternate_and_ratios_are_those_of_the_rounds():
    called = []
    cases = tuple(Case(name, 2.0, lambda name=name: called.append(name)) for name in "ab")
    result = measure(Comparison("letters", cases, "a", threads=1), rounds=3)
    assert "".join(called) == "abbaabba"  # the first round warms up
    assert result.timing("a").ratio == result.timing("a").low_ratio == 1
    other = result.timing("b")
    assert 0 < other.low_ratio <= other.ratio <= other.high_ratio
    assert result.timing("c") is None


def test_the_plain_network_gives_blazenets_numbers_and_gradients():
    torch.manual_seed(0)
    # In single precision two pooled numbers that are nearly equal may change places.
    network = BlazeNet().double()
    plain = plain_copy(network).double()
    pictures = torch.randn(40, 64, 64, dtype=torch.float64)  # more than goes through at once
    ours, theirs = network(pictures), plain(pictures)
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    wanted = dict(plain.named_parameters())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad)
    with torch.inference_mode():
        torch.testing.assert_close(network(pictures), theirs)


def test_an_unknown_comparison_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--only", "no such thing"])
    assert "invalid choice" in capsys.readouterr().err


def test_cleaning_is_measured_by_clips_and_workers(tmp_path):
    command = [sys.executable, "-m", "benchmarks.clean", "--clips", "16", "30", "--workers", "2"]
    command += ["--rounds", "1"]
    command += ["--folder", str(tmp_path), "--json", str(tmp_path / "clean.json")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    runs = read_json(tmp_path / "clean.json")["runs"]
    cells = [(clips, 2, guarded) for clips in (16, 30) for guarded in (False, True)]
    assert [(run["clips"], run["workers"], run["guarded"]) for run in runs] == cells
    assert [line.split()[:2] for line in printed.splitlines()[1::2]] == [["16", "2"], ["30", "2"]]
    for plain, guarded in zip(runs[::2], runs[1::2], strict=True):
        assert guarded["ratio"] == plain["wall_s"] / guarded["wall_s"]
    for run in runs:
        assert run["sound_s"] == pytest.approx(run["clips"], rel=0.1) and run["wall_s"] > 0
        assert 50 < run["start_mib"] <= run["main_mib"] <= run["peak_mib"]
    assert [path.name for path in tmp_path.iterdir()] == ["clean.json"]
