"""The base alone, in a clean environment: it hears, and says which extra brings the rest."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.install import megabytes
from crywatch.core import params
from crywatch.detection.devices.export import ExportConfig, run
from tests.helpers.robust_model_cases import write_robust

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PARAMS = (
    "detect: {model: exported, threshold: 0.5, false_alarms_per_hour: null, min_event_s: 1.0, "
    "max_gap_s: 1.0}\nregister: {name: cry}\n"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """`bin` of an environment with crywatch and no extra."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = tmp_path_factory.mktemp("source")  # pip leaves a build folder in it
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src" / "crywatch", source / "src" / "crywatch")
    constraint = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, "install", source, *constraint], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A sound, and a small model as a rebuild makes it and as it is exported."""
    folder = tmp_path_factory.mktemp("project")
    config = params.section("export", ExportConfig, ROOT / "params.yaml")
    run(write_robust(folder / "model"), config, (), folder / "exported")
    noise = np.random.default_rng(0).standard_normal(3 * 16_000).astype(np.float32)
    soundfile.write(folder / "sound.wav", 0.1 * noise, 16_000)
    (folder / "params.yaml").write_text(PARAMS)
    return folder


def crywatch(base: Path, project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of the clean environment, which sees no other sources."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [base / "crywatch", *words]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)


def test_the_base_detects(base, project):
    ended = crywatch(base, project, "detect", "sound.wav", "--format", "jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    record = json.loads(ended.stdout)
    assert record["duration_s"] == 3.0 and len(record["seconds"]) == 3
    listed = crywatch(base, project, "--help")
    assert listed.returncode == 0 and "detect" in listed.stdout


def test_the_base_shows_what_it_does_outside_of_any_project(base, tmp_path, capsys):
    begin = time.monotonic()
    ended = crywatch(base, tmp_path, "demo", "--no-open")
    seconds = {"demo, the first command": time.monotonic() - begin}
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "crywatch-demo.png").is_file()
    begin = time.monotonic()
    ended = crywatch(base, tmp_path, "detect", "crywatch-demo.flac", "--format", "jsonl")
    seconds["detect"] = time.monotonic() - begin
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(json.loads(ended.stdout)["events"]) == 2
    begin = time.monotonic()
    ended = crywatch(base, tmp_path, "listen", "--speed", "0", "crywatch-demo.flac")
    seconds["listen"] = time.monotonic() - begin
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count('"type": "end"') == 2
    assert crywatch(base, tmp_path, "trace", "released").returncode == 0
    with capsys.disabled():
        print(f"\nthe base: {megabytes(base.parent):.0f} MB with Python's own", end="")
        print(*(f"; {step}: {value:.1f} s" for step, value in seconds.items()), sep="")


def test_the_base_is_without_torch(base):
    command = [base / "python", "-c", "import torch"]
    ended = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert "No module named 'torch'" in ended.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("infant", "list"), "infants"),
        (("ui",), "tracking"),
        (("detect", "sound.wav", "--model", "champion"), "tracking"),
        (("detect", "sound.wav", "--model", "model"), "torch"),
        (("params",), "train"),
    ],
)
def test_what_is_missing_is_told_with_its_extra(base, project, words, extra):
    (project / "conf").mkdir(exist_ok=True)
    (project / "conf" / "config.yaml").touch()
    (project / "params.yaml").write_text(PARAMS)
    ended = crywatch(base, project, *words)
    assert ended.returncode == 2
    assert f'is not installed: pip install "crywatch[{extra}]"' in ended.stderr
    assert ended.stderr.count("\n") == 1
