"""dvc.yaml as the tests see it: its stages, and the package modules a stage script imports."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crywatch"


def stages() -> dict[str, dict]:
    """Stage name to its body (a foreach stage gives its ``do``)."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return {name: body.get("do", body) for name, body in content["stages"].items()}


def module_file(name: str) -> Path | None:
    """File of module ``crywatch.a.b``, or None for a name inside a module."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def imported_modules(path: Path) -> set[Path]:
    """Package files that ``path`` imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name == "crywatch" or name.startswith("crywatch."):
                file = module_file(name)
                if file is not None:
                    found.add(file)
    return found


def needed_modules(script: Path, ignored: Sequence[str]) -> set[Path]:
    """Package files that ``script`` reaches; ``ignored`` (files and folders) end it."""
    found: set[Path] = set()
    queue = [script]
    while queue:
        for file in imported_modules(queue.pop()):
            name = file.relative_to(PACKAGE).as_posix()
            ends = any(name == end or name.startswith(f"{end}/") for end in ignored)
            if file not in found and not ends:
                found.add(file)
                queue.append(file)
    return found
