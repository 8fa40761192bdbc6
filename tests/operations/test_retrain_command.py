"""The command's exit codes, and the benchmark of a run with nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import retrain as benchmark
from crywatch.core.atomic import read_json
from crywatch.operations.retrain.lock import locked
from tests.helpers.dag import ROOT
from tests.helpers.retrain_cases import make_project, retrain, runs, write_params


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path)


def command(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crywatch.cli", "retrain", *words],
        cwd=project / ".git",
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )


def test_the_command_says_what_it_did_by_its_exit_code(project):
    whole = yaml.safe_load((project / "params.yaml").read_text())
    write_params(project, **whole | {"retrain": {"ref": "nowhere"}})
    failed = command(project)
    assert failed.returncode == 1 and "failed" in failed.stdout and "nowhere" in failed.stderr
    write_params(project, **whole | {"retrain": {}})
    dry = command(project, "--dry-run")
    assert dry.returncode == 0 and "would rebuild" in dry.stdout
    with locked(runs(project).lock, "2030-01-02T03:04:05Z", 1.0):
        held = command(project)
    assert held.returncode == 75 and f"process {os.getpid()}" in held.stderr
    listed = command(project, "--list")
    assert listed.returncode == 0 and listed.stdout.count("\n") == 1 and "failed" in listed.stdout


def test_the_benchmark_times_a_run_with_nothing_to_do(project, tmp_path, monkeypatch, capsys):
    write_params(project, retrain={})
    target = tmp_path / "retrain.json"
    words = [str(project), "--rounds", "2", "--json", str(target)]
    assert benchmark.main(words) == 1
    assert "something to do" in capsys.readouterr().err
    assert retrain(project).outcome == "promoted"
    assert benchmark.main(words) == 0
    [found] = read_json(target)["runs"]
    assert found["rounds"] == 2 and 0 < found["low_s"] <= found["median_s"] <= found["high_s"] < 20
    assert f"{found['median_s']:.2f} s" in capsys.readouterr().out
    assert [line.outcome for line in runs(project).history()].count("nothing") == 3
