"""The base alone, imitated: no package is to be had but those that `pip install .` brings."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
BEGIN = """
import json, sys

BLOCKED = set(json.loads(sys.argv[1]))

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
"""
COMMANDS = """
from crywatch.cli.main import main

for words in json.loads(sys.argv[2]):
    sys.argv = ["crywatch", *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def base() -> set[str]:
    """Distributions of an environment without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names: set[str] = set()
    left = list(map(Requirement, project["dependencies"]))
    while left:
        needed = left.pop()
        name = canonicalize_name(needed.name)
        if name in names or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        names.add(name)
        left += map(Requirement, metadata.requires(name) or [])
    return names


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    """Names that are imported from packages that the base does not bring."""
    allowed = {*base(), "crywatch"}
    brought = metadata.packages_distributions()
    others = {n for n, by in brought.items() if not allowed & {canonicalize_name(d) for d in by}}
    return sorted(others - sys.stdlib_module_names)  # of some of these there are packages too


def test_the_base_is_small(blocked):
    assert {"torch", "safetensors", "lightning", "librosa", "scipy", "pandas"} <= set(blocked)
    assert not {"numpy", "av", "onnxruntime", "typer"} & set(blocked)


def test_the_commands_of_the_first_minute_need_no_more(blocked, tmp_path):
    sound = "crywatch-demo.flac"
    commands = [
        ["demo", "--no-open"],
        ["detect", sound, "--format", "jsonl", "--plot", "a.png"],
        ["listen", "--speed", "0", sound],
        ["trace", "released"],
    ]
    words = [sys.executable, "-c", BEGIN + COMMANDS, json.dumps(blocked), json.dumps(commands)]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(lines[0]["events"]) == 2
    assert [line["type"] for line in lines[1:]].count("end") == 2
    assert "an infant cries" in ended.stdout and "the recorded digests" in ended.stdout
    assert (tmp_path / "a.png").is_file()


def test_python_needs_no_more(blocked):
    code = BEGIN + (
        "import numpy as np; from crywatch import load_detector; "
        "print(len(load_detector().detect(np.zeros(32_000, np.float32)).seconds))"
    )
    words = [sys.executable, "-c", code, json.dumps(blocked)]
    assert subprocess.check_output(words, cwd="/", text=True).strip() == "2"
