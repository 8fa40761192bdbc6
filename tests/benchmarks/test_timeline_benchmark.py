"""The benchmark of timelines runs on short ones; how fast it was is not asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crywatch.core.atomic import read_json

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]


def test_every_length_is_timed_and_written(tmp_path):
    target = tmp_path / "timeline.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.timeline",
        "--recordings",
        "10",
        "30",
        "--rounds",
        "2",
    ]
    command += ["--json", str(target)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    runs = read_json(target)["runs"]
    assert [run["recordings"] for run in runs] == [10, 30]
    assert [line.split()[0] for line in printed.splitlines()] == ["recordings", "10", "30"]
    for run in runs:
        assert run["update_ms"] > 0 and run["page_ms"] > 0
        assert 0 < run["low_ratio"] <= run["ratio"] <= run["high_ratio"]
        assert run["scratch_ms"] > 0
