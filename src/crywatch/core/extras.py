"""Which extra brings a package that is not installed, from crywatch's own metadata."""

from __future__ import annotations

import re
import traceback
from importlib import metadata

# Packages that are imported by another name than they are installed by.
IMPORTED_AS = {
    "crontab": "python-crontab",
    "google": "protobuf",
    "hydra": "hydra-core",
    "paho": "paho-mqtt",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "sklearn": "scikit-learn",
    "starlette": "fastapi",  # which brings it
    "yaml": "pyyaml",
}
PROJECT = frozenset({"train", "infants", "tracking"})  # of the Makefile's EXTRAS
_EXTRA = re.compile(r"""^([\w.-]+).*;.*\bextra\s*==\s*["']([\w.-]+)["']""")


def extras_with(module: str) -> list[str]:
    """Extras of crywatch that name the package of ``module``, in the order of pyproject.toml."""
    top = module.partition(".")[0]
    if top == "crywatch":
        return []
    package = _plain(IMPORTED_AS.get(top, top))
    matches = [_EXTRA.match(line) for line in metadata.requires("crywatch") or []]
    named = [match[2] for match in matches if match and _plain(match[1]) == package]
    return [extra for extra in named if extra != "test"] or named


def advice(error: ModuleNotFoundError) -> str | None:
    """What to install for ``error``, in one line; None if no extra brings the package.

    Of several extras the one that is named as a room in which the package was imported goes first;
    where none is, what lacks the package works on a project, which needs `PROJECT`.
    """
    if error.name is None or not (extras := extras_with(error.name)):
        return None
    files = " ".join(frame.filename for frame in traceback.extract_tb(error.__traceback__))
    extras.sort(key=lambda extra: f"/crywatch/{extra}/" not in files)
    if f"/crywatch/{extras[0]}/" not in files and len(PROJECT.intersection(extras)) > 1:
        extras = [",".join(sorted(PROJECT))]
    choices = " or ".join(f'pip install "crywatch[{extra}]"' for extra in extras)
    return f"{error.name.partition('.')[0]} is not installed: {choices}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
