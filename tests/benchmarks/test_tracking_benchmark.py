"""The benchmark of tracking runs and says what it should; how fast it was is not asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crywatch.core.atomic import read_json

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]


def test_every_store_is_printed_and_written(tmp_path):
    target = tmp_path / "tracking.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.tracking",
        "--only",
        "sqlite",
        "no server",
        "--json",
        str(target),
    ]
    command += ["--steps", "3", "--rounds", "2", "--batch", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    runs = read_json(target)["runs"]
    assert [run["name"] for run in runs] == ["sqlite", "no server"]
    for run in runs:
        assert run["name"] in ended.stdout
        assert 0 < run["low_ratio"] <= run["ratio"] <= run["high_ratio"]
        assert 0 < run["call_us"] <= run["worst_us"] and run["step_ms"] > 0
