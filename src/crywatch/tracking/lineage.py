"""What DVC and git know of a stage: its lock entry, the digests of its outputs, the commit."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pathspec
import yaml

from crywatch.core import gate, git
from crywatch.core.digest import value_sha256

LOCK = Path("dvc.lock")
LOCKS = (LOCK, Path("studies") / LOCK)
IGNORE = Path(".dvcignore")
MAX_PARAM = 500  # characters
if TYPE_CHECKING:
    _FastLoader = yaml.SafeLoader
else:
    _FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ALWAYS_IGNORED = (".hg/", ".git/", ".git", ".dvc/")


class YamlLoader(_FastLoader):
    """Ten times as fast as the default, and reads ``1e-05`` as the number that DVC wrote."""


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Commit:
    """Of the working tree; ``sha`` is empty outside git."""

    sha: str
    dirty: bool


@dataclass(frozen=True)
class Entry:
    """A stage as dvc.lock holds it."""

    cmd: str = ""
    deps: tuple[str, ...] = ()  # paths
    outs: dict[str, str] = field(default_factory=dict)  # path to DVC digest
    params: dict[str, Any] = field(default_factory=dict)  # dotted name to value


def commit() -> Commit:
    """The commit that is checked out."""
    here = Path.cwd()
    status = git.output(
        here,
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        *(f":!{lock}" for lock in LOCKS),
    )
    return Commit(git.output(here, "rev-parse", "HEAD"), bool(status))


def lock_stages(folder: Path = Path()) -> dict[str, Entry]:
    """Stage name to its entry in dvc.lock, of the pipeline and of the studies."""
    stages: dict[str, Entry] = {}
    for path in (folder / lock for lock in LOCKS):
        stages |= parse_lock(path.read_text()) if path.is_file() else {}
    return stages


def parse_lock(text: str) -> dict[str, Entry]:
    """The same of the text of a dvc.lock; GateError where it is none, or its paths lead out."""
    try:
        content = yaml.load(text, YamlLoader) or {}
        stages = content.get("stages") or {}
        return {gate.STAGE(name, str(LOCK)): _lock_entry(body) for name, body in stages.items()}
    except (yaml.YAMLError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise gate.GateError(f"{LOCK}: not as DVC writes it ({_brief(error)})") from error


def _lock_entry(body: dict[str, Any]) -> Entry:
    return Entry(
        cmd=body.get("cmd", ""),
        deps=tuple(str(dep["path"]) for dep in body.get("deps", [])),
        outs={
            gate.below(out["path"], str(LOCK)): out.get("md5", "") for out in body.get("outs", [])
        },
        params={k: v for own in body.get("params", {}).values() for k, v in own.items()},
    )


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of parameters, and their values."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def logged(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters by their dotted names, as MLflow keeps them."""
    return {name: str(value)[:MAX_PARAM] for name, value in flat(values) if value != {}}


def entry_digest(entry: Entry) -> str:
    """SHA-256 of an entry's command, parameters and outputs.

    The digests of its dependencies are left out: a running stage would have to read all its inputs
    again to know them. The runs (or notes) of the stages before it and the commit tell them.
    """
    return value_sha256({"cmd": entry.cmd, "params": entry.params, "outs": entry.outs})


def outs_digest(outs: dict[str, str]) -> str:
    """One digest for a stage's outputs, path to DVC digest."""
    return value_sha256(outs)


def dvc_digest(path: Path) -> str:
    """The digest that DVC writes into dvc.lock for a file or folder.

    Files that .dvcignore names (the one in the working directory) are left out, as by DVC.
    """
    if path.is_file():
        return file_md5(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} was not made")
    return dir_digest({name: file_md5(path / name) for name in names(path)})


def dir_digest(files: dict[str, str]) -> str:
    """DVC's digest of a folder from its files, path in it to MD5."""
    listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def names(folder: Path, root: Path | None = None, place: Path | None = None) -> Iterator[str]:
    """Paths of the files in ``folder`` as far as DVC sees them, with ``/``.

    ``root`` has the .dvcignore; it holds for ``folder`` as if that stood at ``place`` below it.
    """
    root = root or Path.cwd()
    ignore = root / IGNORE
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    ignored = pathspec.GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *lines])
    top = folder.absolute()
    if place is None:
        place = top.relative_to(root) if top.is_relative_to(root) else Path()
    for parent, folders, files in os.walk(top, followlinks=True):
        inside = place / Path(parent).relative_to(top)
        folders[:] = [n for n in folders if not ignored.match_file(f"{(inside / n).as_posix()}/")]
        for name in files:
            if not ignored.match_file((inside / name).as_posix()):
                yield Path(parent, name).relative_to(top).as_posix()


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, hex: what DVC names its cache objects by."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, _new_md5).hexdigest()


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def related(path: str, others: Iterable[str]) -> bool:
    """Whether ``path`` is one of the others, or inside or around one."""
    return any(
        f"{path}/".startswith(f"{other}/") or other.startswith(f"{path}/") for other in others
    )


def upstream(stage: str, stages: dict[str, Entry]) -> list[str]:
    """Stages whose outputs ``stage`` needs, directly or not."""
    above: set[str] = set()
    queue = [stage]
    while queue:
        deps = stages.get(queue.pop(), Entry()).deps
        for name, entry in stages.items():
            if name not in {stage, *above} and any(related(d, entry.outs) for d in deps):
                above.add(name)
                queue.append(name)
    return sorted(above)


def inputs(stage: str, stages: dict[str, Entry]) -> dict[str, str]:
    """Path to DVC digest of the outputs of other stages that ``stage`` reads."""
    deps = stages.get(stage, Entry()).deps
    return {
        path: md5
        for name, entry in stages.items()
        for path, md5 in entry.outs.items()
        if name != stage and md5 and related(path, deps)
    }
