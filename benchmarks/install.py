"""Seconds and megabytes of each layer of dependencies, each in an environment of its own.

`python -m benchmarks.install [LAYER ...]`; without one the base, every extra beside it, and what
`make repro` installs. A layer is an extra, or several with commas. pip's downloads come from its
cache where it has them, so the seconds are those of a second install.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPRO = "train,infants,tracking"  # EXTRAS of the Makefile


def layers() -> list[str]:
    """The base, the extras but `test`, and what `make repro` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return ["", *(e for e in project["optional-dependencies"] if e != "test"), REPRO]


def install(layer: str, folder: Path) -> tuple[float, float, int]:
    """Make ``folder`` an environment with ``layer``: seconds, megabytes, packages."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    empty = megabytes(folder)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    source = folder.parent / "source"  # pip leaves a build folder in it
    shutil.copytree(ROOT / "src" / "crywatch", source / "src" / "crywatch")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = f"{source}[{layer}]" if layer else str(source)
    start = time.monotonic()
    subprocess.run(
        [*pip, "install", "--quiet", target, "--constraint", ROOT / "constraints.txt"], check=True
    )
    seconds = time.monotonic() - start
    listed = subprocess.check_output([*pip, "list", "--format", "freeze"], text=True)
    return seconds, megabytes(folder) - empty, len(listed.splitlines())


def megabytes(folder: Path) -> float:
    """On disk below ``folder``, links not followed."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*", metavar="LAYER")
    print("| layer | seconds | MB | packages |\n|---|---|---|---|", flush=True)
    for layer in parser.parse_args().layers or layers():
        with tempfile.TemporaryDirectory() as folder:
            seconds, size, packages = install(layer, Path(folder) / "venv")
        print(f"| {layer or 'base'} | {seconds:.0f} | {size:,.0f} | {packages} |", flush=True)


if __name__ == "__main__":
    main()
