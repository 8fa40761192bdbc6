"""dvc.yaml and studies/dvc.yaml as the tests see them: their stages."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crywatch"


def stages(plan: Path = Path("dvc.yaml")) -> dict[str, dict]:
    """Stage name to its body (a foreach stage gives its ``do``)."""
    content = yaml.safe_load((ROOT / plan).read_text())
    return {name: body.get("do", body) for name, body in content["stages"].items()}
