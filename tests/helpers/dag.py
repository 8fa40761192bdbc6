"""dvc.yaml as the tests see it: its stages."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crywatch"


def stages() -> dict[str, dict]:
    """Stage name to its body (a foreach stage gives its ``do``)."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return {name: body.get("do", body) for name, body in content["stages"].items()}
