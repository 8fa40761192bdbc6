"""Imports between the rooms of the package go downwards only (pyproject.toml)."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_between_the_rooms_go_downwards():
    program = Path(sys.executable).with_name("lint-imports")
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [program, "--no-cache"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_the_places_that_the_glossary_names_are_there():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    for row in rows:
        for place in re.findall(r"`([^`]+)`", row.split("|")[-2]):
            assert any((ROOT / top / place).exists() for top in ("src/crywatch", ".")), place
