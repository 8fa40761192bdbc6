"""What of a commit can change the outputs of a rebuild, read from git alone.

That is what DVC looks at: the stages of dvc.yaml, the tracked files they depend on, and the
sections of params.yaml they read. A commit that changes none of them is no reason to rebuild.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core import git
from crywatch.core.digest import value_sha256
from crywatch.core.errors import CrywatchError

PLAN = "dvc.yaml"
TEMPLATE = re.compile(r"\$\{\s*(\w+)")
LOOP = ("item", "key")  # names inside a foreach


@dataclass(frozen=True)
class Recipe:
    """Of one commit, under one params.yaml."""

    commit: str  # full SHA
    files: dict[str, str]  # tracked path, or "dvc.yaml", to digest
    params: dict[str, str]  # section to digest


def read(project: Path, ref: str, values: Mapping[str, Any]) -> Recipe:
    """Of the commit that ``ref`` names; ``values`` are those of params.yaml.

    Raises
    ------
    CrywatchError
        No git repository, no such commit, or no dvc.yaml in it.
    """
    import yaml

    from crywatch.tracking.lineage import YamlLoader

    commit = resolve(project, ref)
    try:
        stages = yaml.load(git.must(project, "show", f"{commit}:{PLAN}"), YamlLoader)["stages"]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise CrywatchError(f"{PLAN} of {commit[:7]}: no stages in it ({error})") from error
    bodies = [body.get("do", body) for body in stages.values()]
    deps = {str(dep).partition("${")[0] for body in bodies for dep in body.get("deps") or []}
    tracked = _tracked(project, commit)
    files = {
        path: blob
        for path, blob in tracked.items()
        if not path.endswith(".gitignore")  # DVC's own notes on outputs
        and any(path == dep or path.startswith(_inside(dep)) for dep in deps if dep)
    }
    told = {
        name: {"do": _undescribed(body.get("do", body)), "foreach": body.get("foreach")}
        for name, body in stages.items()
    }
    files[PLAN] = value_sha256(told)
    used = {name for body in bodies for name in _sections(body.get("params") or [])}
    used |= {name for name in TEMPLATE.findall(str(told)) if name not in LOOP}
    sections = {name: value_sha256(values.get(name)) for name in sorted(used)}
    return Recipe(commit, files, sections)


def _undescribed(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "desc"}


def resolve(project: Path, ref: str) -> str:
    """The full SHA of a commit."""
    try:
        return git.must(project, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    except CrywatchError as error:
        raise CrywatchError(f"retrain.ref: {ref!r} is no commit of this project") from error


def _tracked(project: Path, commit: str) -> dict[str, str]:
    """Path to blob."""
    found = {}
    for line in git.must(project, "ls-tree", "-r", "-z", commit).split("\0"):
        if line:
            told, _, path = line.partition("\t")
            found[path] = told.split()[2]
    return found


def _inside(dep: str) -> str:
    # What was cut off at a template may end in the middle of a name.
    return dep if dep.endswith(("/", "_", "-", "@")) else f"{dep}/"


def _sections(entries: list) -> Iterator[str]:
    for entry in entries:
        names = entry if isinstance(entry, str) else [n for v in entry.values() for n in v or []]
        for name in [names] if isinstance(names, str) else names:
            first = str(name).partition(".")[0]
            if not first.startswith("${"):
                yield first
