"""Which code can change what a module makes: the closure of its imports inside this package.

DVC's dependencies of a stage (`crywatch dag`) and the key of unfinished work (`code_sha256`) both
come from here. Imports are read from the source, those inside functions too. A string such as
``"crywatch.corpora.esc50:Esc50"`` names an object that is opened by need; in a dict literal its key
is the name that it is asked for by. ``"crywatch.corpora.samples.*:write"`` names one
of each module of a package, asked for by the module's name.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crywatch.core import digest

PACKAGE = Path(__file__).parents[1]
# What cannot change the outputs of a stage: neither it nor what it imports counts.
PLUMBING = (
    "__init__.py",
    "audio/guard.py",  # it hands on what the decoder gives
    "core/atomic.py",
    "core/code.py",
    "core/digest.py",
    "core/errors.py",
    "core/gate.py",
    "core/lock.py",
    "core/params.py",
    "core/paths.py",
    "core/progress.py",
    "core/project.py",
    "detection/engine",
    "tracking",
)
_OBJECT = re.compile(r"(crywatch(?:\.\w+)+)(\.\*)?:\w+")  # "package.module:object"


@dataclass(frozen=True)
class Imports:
    """What one file needs of the package."""

    modules: frozenset[Path]  # imported anywhere in the file
    opened: dict[str, Path]  # by the name that it is asked for by: module of an object


def module_file(name: str, package: Path = PACKAGE) -> Path | None:
    """File of module ``crywatch.a.b``; None for what is no module of the package."""
    first, *parts = name.split(".")
    path = package.joinpath(*parts)
    if first != "crywatch":
        return None
    if parts and path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


@cache
def imports(file: Path, package: Path = PACKAGE) -> Imports:
    """The modules that ``file`` imports, and those of which it opens objects by name."""
    modules: set[Path] = set()
    opened: dict[str, Path] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and (paths := _modules_of(value, package)):
                    opened[str(key.value)] = paths[0]
        elif paths := _modules_of(node, package):
            opened |= {path.stem: path for path in paths if path not in opened.values()}
        else:
            modules.update(_imported(node, package))
    return Imports(frozenset(modules), opened)


def _modules_of(node: ast.AST, package: Path) -> list[Path]:
    """Modules of the objects that a string names."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return []
    match = _OBJECT.fullmatch(node.value)
    path = module_file(match[1], package) if match else None
    if match is None or path is None:
        return []
    return sorted(path.parent.glob("[!_]*.py")) if match[2] else [path]


def _imported(node: ast.AST, package: Path) -> Iterator[Path]:
    """Modules that an import statement names; of a package only what is taken from it."""
    names: list[tuple[str, ...]] = []
    if isinstance(node, ast.Import):
        names = [(alias.name,) for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
    for choices in names:
        if file := next(filter(None, (module_file(name, package) for name in choices)), None):
            yield file


Opened = Callable[[dict[str, Path]], Iterator[Path]]  # chooses among modules opened by name


def every(modules: dict[str, Path]) -> Iterator[Path]:
    """All of them."""
    return iter(modules.values())


def closure(root: Path, package: Path = PACKAGE, opened: Opened = every) -> set[Path]:
    """Files of the package that ``root`` reaches, `PLUMBING` aside; the templates beside them too.

    ``opened`` chooses among the modules of which a file opens objects by name: all, unless told.
    """
    ends = [package / name for name in PLUMBING]
    reached: set[Path] = set()
    queue = [root]
    while queue:
        found = imports(queue.pop(), package)
        for file in {*found.modules, *opened(found.opened)} - reached:
            if not any(file == end or end in file.parents for end in ends):
                reached.add(file)
                queue.append(file)
    return reached | {file for module in reached for file in _data_files(module.parent)}


@cache
def _data_files(folder: Path) -> frozenset[Path]:
    """Templates and scripts of pages: what is neither Python nor what Python makes of it."""
    return frozenset(
        file for file in folder.iterdir() if file.is_file() and file.suffix not in (".py", ".pyc")
    )


def code_sha256(module: str, package: Path = PACKAGE, opened: Opened = every) -> str:
    """SHA-256 of ``module`` (``__name__``) and of all code that can change what it makes, hex.

    Part of the key of unfinished work: nothing goes on from what other code has begun. ``opened``
    is that of `closure`.
    """
    root = module_file(module, package)
    if root is None:
        raise ValueError(f"{module!r} is no module of crywatch")
    whole = hashlib.sha256()
    for file in sorted({root, *closure(root, package, opened)}):
        whole.update(file.relative_to(package).as_posix().encode())
        whole.update(digest.file_sha256(file).encode())
    return whole.hexdigest()
