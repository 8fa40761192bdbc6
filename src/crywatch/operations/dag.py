"""The code that every stage depends on, as the files of `PLANS` list it (`crywatch dag`).

The lines ``- src/...`` of a stage's dependencies are the closure of the imports of its script, in
few paths where that costs little: DVC writes four lines of dvc.lock for each. All other lines of
the file are written by hand and stay.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from crywatch.core import params
from crywatch.core.atomic import write_text
from crywatch.core.code import closure, imports

# By the folder of the scripts of its stages. All name paths as in the root.
PLANS = {"pipelines": Path("dvc.yaml"), "studies": Path("studies") / "dvc.yaml"}
SOURCES = "src/crywatch"
# Paths of code of a stage; with more, folders stand for their files, where a path less costs at
# most so many lines of code that the stage cannot need: a change of them has it run for nothing.
MOST, WORTH = 4, 300
_STAGE = re.compile(r"  (\w+):$")
_TEMPLATE = re.compile(r"\$\{\s*([^}]+?)\s*\}")
DETECTORS = ("detector", "detectors")  # modules of a room that open its models
_SCRIPT = re.compile(rf"( +- )(?:{'|'.join(PLANS)})/(\w+)\.py$")


def write(root: Path = Path("."), check: bool = False) -> list[str]:
    """Bring the plans below ``root`` up to their code; the stages whose dependencies change by it.

    With ``check`` the files stay as they are.
    """
    root = root.resolve()
    paths = [path for plan in PLANS.values() if (path := root / plan).is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    bodies = _stages(texts.values())
    config = params.everything(root)
    sources = {name: stage_sources(root, name, bodies, config) for name in bodies}
    texts = {
        path: "\n".join(_with_sources(text.splitlines(), sources)) + "\n"
        for path, text in texts.items()
    }
    if not check:
        for path, text in texts.items():
            write_text(path, text)
    now = _stages(texts.values())
    return [name for name in bodies if _dependencies(bodies[name]) != _dependencies(now[name])]


def _stages(texts: Iterable[str]) -> dict[str, dict]:
    return {name: body for text in texts for name, body in yaml.safe_load(text)["stages"].items()}


def _dependencies(body: dict) -> list[str]:
    return body.get("do", body)["deps"]


def _with_sources(lines: Iterable[str], sources: dict[str, list[str]]) -> Iterator[str]:
    """The lines of a plan with ``sources`` of each stage after its script."""
    stage, inside = "", False
    for line in lines:
        if match := _STAGE.match(line):
            stage, inside = match[1], False
        if inside and line.lstrip().startswith(f"- {SOURCES}/"):
            continue
        yield line
        if (match := _SCRIPT.match(line)) and match[2] == stage:
            inside = True
            yield from (f"{match[1]}{path}" for path in sources[stage])


def stage_sources(root: Path, stage: str, bodies: dict, config: dict) -> list[str]:
    """Files and whole folders below ``root`` with all that the script of ``stage`` reaches."""
    package = root / SOURCES
    files, by_item = _reached(root, stage, bodies, config)
    paths = _merged(_folded(files, package), files, package, MOST - len(by_item)) | by_item
    return sorted(path.relative_to(root).as_posix() for path in paths)


def needless(root: Path, stage: str, bodies: dict, config: dict) -> dict[str, int]:
    """Files that a stage depends on and cannot need, and their lines: they lie in its folders."""
    files, _ = _reached(root, stage, bodies, config)
    folders = (root / path for path in stage_sources(root, stage, bodies, config))
    covered = {file for folder in folders if folder.is_dir() for file in _below(folder)}
    return {file.relative_to(root).as_posix(): _lines(file) for file in covered - files}


def _reached(root: Path, stage: str, bodies: dict, config: dict) -> tuple[set[Path], set[Path]]:
    """Files that the script of ``stage`` reaches, and those that stand there for each of its items.

    Of the modules that are opened by name it reaches all, with two exceptions. A stage that is run
    for each of ``${corpora}`` opens, of the modules ``corpora/<item>.py``, its own alone:
    ``src/crywatch/corpora/${item}.py``. And the models that a stage reads are made by the stages
    before it: it opens the detectors of their rooms alone.
    """
    by_item: set[Path] = set()

    def opened(modules: dict[str, Path]) -> Iterator[Path]:
        own = {path for name, path in modules.items() if path.stem == name and group in path.parts}
        if items and items <= {path.stem for path in own}:
            by_item.update(own)
            return (path for path in modules.values() if path not in own)
        return (
            path
            for path in modules.values()
            if rooms is None or path.stem not in DETECTORS or path.parent in rooms
        )

    package = root / SOURCES
    before = _before(stage, bodies, config)
    rooms = None if before is None else _rooms(before, package)
    group, items, variable = _foreach(bodies[stage], config)
    files = closure(root / _dependencies(bodies[stage])[0], package, opened)
    for module in frozenset(by_item):
        # The modules of one item may import each other: they stand there for that item.
        same = {path for path in by_item if path.stem == module.stem}
        files |= closure(module, package, opened) - same
    if by_item & files:  # DVC takes no file twice, as it would stand there for that item
        files, by_item = files | by_item, set()
    return files, {path.parent / f"${{{variable}}}.py" for path in by_item}


def _foreach(body: dict, config: dict) -> tuple[str, set[str], str]:
    """Last word of the parameter that a stage is run for each of, its names, and their variable."""
    if "foreach" not in body:
        return "", set(), ""
    name = body["foreach"].strip("${}")
    items = _value(config, name)
    return name.rpartition(".")[2], set(items), "key" if isinstance(items, dict) else "item"


def _before(stage: str, bodies: dict, config: dict) -> set[str] | None:
    """The stages that ``stage`` stands on; None where it reads data that none of them makes."""
    made = {path: name for name in bodies for path in _paths(bodies[name], "outs", config)}
    found: set[str] = set()
    queue = [stage]
    while queue:
        name = queue.pop()
        for dep in _paths(bodies[name], "deps", config):
            if dep.startswith(("src/", *(f"{folder}/" for folder in PLANS))):
                continue
            makers = {
                maker
                for path, maker in made.items()
                if path == dep or path.startswith(f"{dep}/") or dep.startswith(f"{path}/")
            }
            if not makers and name == stage:
                return None
            queue += makers - found
            found |= makers
    return found


def _paths(body: dict, kind: str, config: dict) -> Iterator[str]:
    """Paths of ``deps`` or ``outs`` of a stage, of each of its items."""
    items: list[dict] = [{}]
    if "foreach" in body:
        chosen = _value(config, body["foreach"].strip("${}"))
        pairs = chosen.items() if isinstance(chosen, dict) else zip(chosen, chosen, strict=True)
        items = [{"key": key, "item": item} for key, item in pairs]
    for item in items:
        values = config | item
        for path in body.get("do", body).get(kind, []):
            parts = _TEMPLATE.split(path)  # text and names by turns
            parts[1::2] = (str(_value(values, name)) for name in parts[1::2])
            yield "".join(parts)


def _value(config: dict, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


def _rooms(stages: Iterable[str], package: Path) -> set[Path]:
    """Folders of the modules of ``stages``."""
    return {
        file.parent
        for stage in stages
        for pattern in (f"{stage}.py", f"{stage}/__init__.py")
        for file in package.rglob(pattern)
    }


def _folded(files: set[Path], package: Path) -> set[Path]:
    """The same code in fewer paths: a folder in place of all the modules below it."""
    folded = set(files)
    for folder in sorted({parent for file in files for parent in file.parents}, reverse=True):
        if package not in folder.parents:
            continue
        modules = {path for path in folder.rglob("*.py") if not _only_a_docstring(path)}
        if len(modules) > 1 and modules <= files:
            folded = {path for path in folded if folder not in path.parents} | {folder}
    return folded


def _merged(paths: set[Path], files: set[Path], package: Path, most: int) -> set[Path]:
    """At most ``most`` paths where that is `WORTH` it: folders in place of what lies in them.

    Each time it is the folder that adds the fewest needless lines of code for a path less. A folder
    with a module that is opened by name, and not by this stage, is none of them.
    """
    closed = _opened_by_name(package) - files
    while len(paths) > most:
        covered = {file for path in paths for file in _below(path)}
        folders: list[tuple[float, Path]] = []
        for folder in {parent for path in paths for parent in path.parents}:
            fewer = sum(folder in path.parents for path in paths) - 1
            below = _below(folder) if package in folder.parents else frozenset()
            if fewer > 0 and below and closed.isdisjoint(below):
                folders.append((sum(map(_lines, below - covered)) / fewer, folder))
        if not folders:
            break
        worth, folder = min(folders)
        if worth > WORTH:
            break
        paths = {path for path in paths if folder not in path.parents} | {folder}
    return paths


@cache
def _below(path: Path) -> frozenset[Path]:
    """A file, or the code in a folder."""
    if path.is_file():
        return frozenset({path})
    return frozenset(
        file
        for file in path.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not _only_a_docstring(file)
    )


@cache
def _lines(file: Path) -> int:
    return len(file.read_bytes().splitlines())


@cache
def _opened_by_name(package: Path) -> frozenset[Path]:
    return frozenset(
        path for file in package.rglob("*.py") for path in imports(file, package).opened.values()
    )


def _only_a_docstring(path: Path) -> bool:
    return path.name == "__init__.py" and all(
        isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body
    )
