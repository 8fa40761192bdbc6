"""``crywatch check``: is the data on this disk what dvc.lock says?

DVC takes an object of its cache for right by its name and read-only bit, and a file of the tree by
its inode, size and time. What a disk, a program or a person changed behind these shows only when
every byte is read again, as here, also of the folders that corpora are copied from. What a
publisher changed under the same name is no dependency of a stage: it shows by what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from crywatch.core import git
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import CrywatchError
from crywatch.core.progress import progress_bar
from crywatch.tracking import lineage

CACHE, OUTPUT, CORPUS, SOURCE = "cache", "output", "corpus", "source"
OBJECTS = Path("files") / "md5"  # in DVC's cache
PROTECTED = 0o444  # DVC trusts an object with this mode
NAMED = 5  # files that a finding lists
MEND = "`crywatch check --mend`, then `dvc pull` (with a remote) or `dvc repro`, sets it right"


@dataclass(frozen=True)
class Wrong:
    """A file with other bytes than it should have, or none."""

    path: Path  # absolute
    digest: str  # MD5 that it should have
    copy: Path | None = None  # absolute; a file that has it


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it is noted."""

    kind: str  # CACHE, OUTPUT, CORPUS or SOURCE
    stage: str  # as dvc.lock names it
    path: Path  # of the output, object or folder
    said: str
    advice: str
    wrong: bool = True  # False: worth saying, and DVC knows it
    files: tuple[Wrong, ...] = ()

    @property
    def line(self) -> str:
        """For a terminal."""
        return f"{self.path} ({self.stage}): {self.said}; {self.advice}"


@dataclass
class _Objects:
    """DVC's cache; each object is read once."""

    folder: Path
    bar: Any  # tqdm
    copies: dict[str, Path] = field(default_factory=dict)  # MD5 to a file that has it
    told: set[str] = field(default_factory=set)  # objects that a finding names
    _right: dict[str, bool | None] = field(default_factory=dict)

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def right(self, digest: str) -> bool | None:
        """Whether the object has the bytes that it is named by; None if it is not there."""
        if digest not in self._right:
            path = self.path(digest)
            self._right[digest] = self.md5(path) == digest[:32] if path.is_file() else None
        return self._right[digest]

    def md5(self, path: Path) -> str:
        """Of a file, which is read whole."""
        self.bar.update(path.stat().st_size)
        made = lineage.file_md5(path)
        self.copies.setdefault(made, path)
        return made

    def listing(self, digest: str) -> dict[str, str] | None:
        """Path to MD5 of a folder's files, where the object that says so is there and right."""
        if not self.right(digest):
            return None
        entries = json.loads(self.path(digest).read_bytes())
        return {entry["relpath"]: entry["md5"] for entry in entries}


def verify(root: Path, only: Sequence[str] = ()) -> list[Finding]:
    """What is wrong or missing of the outputs in dvc.lock, in the cache and in the tree.

    ``only`` are stages (``clean``, ``clean@esc50``) or paths; without it all of them. Every byte is
    read, with a bar on a terminal.

    Raises
    ------
    CrywatchError
        There is no dvc.lock, it cannot be read, or ``only`` names nothing in it.
    """
    root = root.absolute()
    stages = _stages(_read_lock(root), root / lineage.LOCK)
    chosen = {name: body for name, body in stages.items() if _is_named(name, body, only)}
    if only and not chosen:
        raise CrywatchError(f"{root / lineage.LOCK}: no stage or output {', '.join(only)}")
    found: list[Finding] = []
    with progress_bar("check", None, unit="B", scale=True) as bar:
        objects = _Objects(_cache(root) / OBJECTS, bar)
        for name, body in chosen.items():
            for out in body.get("outs", []):
                found += _check_out(root, objects, name, Path(out["path"]), str(out["md5"]))
        found += _check_folders(root, objects, chosen)
        found = [_with_copies(finding, objects.copies) for finding in found]
    return found + _check_sources(root, chosen, stages)


def _with_copies(finding: Finding, copies: dict[str, Path]) -> Finding:
    files = (replace(one, copy=copies.get(one.digest[:32])) for one in finding.files)
    return replace(finding, files=tuple(files))


def mend(findings: Iterable[Finding]) -> list[str]:
    """Set the files right that findings call wrong; what was done, a line each.

    One that has its bytes elsewhere on this disk is written from there; any other is removed, for
    DVC fetches or makes only what is not there.
    """
    done = {}
    for wrong in (file for finding in findings for file in finding.files):
        if wrong.path in done:
            continue
        if wrong.copy is not None and wrong.copy != wrong.path:
            with atomic_path(wrong.path) as temp:
                shutil.copyfile(wrong.copy, temp)
                if OBJECTS.name in wrong.path.parts:
                    os.chmod(temp, PROTECTED)
            done[wrong.path] = f"{wrong.path}: written again from {wrong.copy}"
        elif wrong.path.is_file():
            wrong.path.unlink()
            done[wrong.path] = f"{wrong.path}: removed"
    return list(done.values())


def _check_out(root: Path, objects: _Objects, stage: str, out: Path, digest: str) -> list[Finding]:
    listing = objects.listing(digest) if digest.endswith(".dir") else {"": digest}
    needed = dict.fromkeys([digest] if listing is None else [digest, *listing.values()])
    found = []
    for one in (one for one in needed if objects.right(one) is False and one not in objects.told):
        objects.told.add(one)
        path = objects.path(one)
        said = f"corrupted, the bytes are not {one}"
        found.append(Finding(CACHE, stage, path, said, MEND, files=(Wrong(path, one),)))
    if lacking := [one for one in needed if objects.right(one) is None]:
        said = f"{len(lacking)} objects are not in the cache"
        found.append(Finding(CACHE, stage, out, said, "`dvc pull` or `dvc repro`", wrong=False))
    there = root / out
    if not there.exists():
        said = "not in the working tree"
        found.append(Finding(OUTPUT, stage, out, said, "`dvc checkout` or `dvc repro`", False))
        return found
    names = lineage.names(there, root) if there.is_dir() else [""]
    have = {name: objects.md5(there / name) for name in names}
    if listing is None:
        if lineage.dir_digest(have) != digest:
            said = "not what dvc.lock says, and nothing here tells which file it is"
            found.append(Finding(OUTPUT, stage, out, said, f"`dvc repro -f -s {stage}`"))
        return found
    if have != listing:
        said = "not what dvc.lock says: " + _difference(listing, have)
        wrong = [name for name in sorted(listing) if have.get(name) != listing[name]]
        files = tuple(Wrong(there / name, listing[name]) for name in wrong)
        # Whatever is there more may be a person's: only a stage made anew takes it away.
        advice = MEND if wrong else f"take it away, or `dvc repro -f -s {stage}`"
        found.append(Finding(OUTPUT, stage, out, said, advice, files=files))
    return found


def _check_folders(
    root: Path, objects: _Objects, stages: dict[str, dict[str, Any]]
) -> list[Finding]:
    """Folders outside the project that corpora were copied from, against what was copied."""
    found = []
    for stage, body in stages.items():
        folders = [root / dep["path"] for dep in body.get("deps", []) if _is_outside(dep["path"])]
        for source in folders:
            (out,) = body["outs"]
            copy, listing = Path(out["path"]), objects.listing(str(out["md5"]))
            if not source.is_dir():
                said = f"{source}, which it was copied from, is not there any more"
                found.append(Finding(CORPUS, stage, copy, said, "the copy stays", wrong=False))
            elif listing is not None:
                names = lineage.names(source, root, place=copy)
                have = {name: objects.md5(source / name) for name in names}
                if have != listing:
                    said = f"{source} has changed since it was copied: {_difference(listing, have)}"
                    found.append(Finding(CORPUS, stage, copy, said, f"`dvc repro {stage}`"))
    return found


def _is_outside(path: str) -> bool:
    return Path(path).is_absolute() or Path(path).parts[0] == ".."


def _check_sources(
    root: Path, chosen: dict[str, dict[str, Any]], stages: dict[str, dict[str, Any]]
) -> list[Finding]:
    """Stages that read no other's output and gave another one than in the last commit's lock."""
    shown = git.run(root, "show", f"HEAD:./{lineage.LOCK}")
    if shown.returncode:
        return []
    before = _stages(shown.stdout, Path(f"HEAD:{lineage.LOCK}"))
    made = [out["path"] for body in stages.values() for out in body.get("outs", [])]
    found = []
    for name, body in chosen.items():
        if any(lineage.related(dep["path"], made) for dep in body.get("deps", [])):
            continue
        old, new = _without_outs(before.get(name, {})), _without_outs(body)
        was = {out["path"]: out["md5"] for out in before.get(name, {}).get("outs", [])}
        for out in body.get("outs", []):
            if old == new and was.get(out["path"], out["md5"]) != out["md5"]:
                said = (
                    f"the same command and parameters gave other files than at the last commit "
                    f"({was[out['path']][:12]}, now {out['md5'][:12]}): they changed where they "
                    "come from, under the same name"
                )
                advice = f"commit {lineage.LOCK} to accept them"
                found.append(Finding(SOURCE, name, Path(out["path"]), said, advice, wrong=False))
    return found


def _without_outs(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "outs"}


def _difference(listing: dict[str, str], have: dict[str, str]) -> str:
    parts = (
        ("changed", sorted(n for n in listing.keys() & have.keys() if listing[n] != have[n])),
        ("missing", sorted(listing.keys() - have.keys())),
        ("more", sorted(have.keys() - listing.keys())),
    )
    return ", ".join(f"{len(names)} {what}{_some(names)}" for what, names in parts if names)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f" ({shown})" if shown else ""  # an output that is one file has no name in it


def _is_named(name: str, body: dict[str, Any], only: Sequence[str]) -> bool:
    outs = [out["path"] for out in body.get("outs", [])]
    wanted = [one.rstrip("/") for one in only]
    return not wanted or any(
        name == one or name.startswith(f"{one}@") or lineage.related(one, outs) for one in wanted
    )


def _read_lock(root: Path) -> str:
    path = root / lineage.LOCK
    if not path.is_file():
        raise CrywatchError(f"{path} is missing: run `crywatch repro` first")
    return path.read_text(encoding="utf-8")


def _stages(text: str, path: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict((yaml.load(text, lineage.YamlLoader) or {})["stages"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        said = "not a whole lock file: `crywatch repro` mends one that a kill cut off"
        raise CrywatchError(f"{path}: {said}") from error


def _cache(root: Path) -> Path:
    """Where DVC is configured to keep its cache; other projects may share it."""
    asked = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise CrywatchError(f"{root}: `dvc cache dir` failed: {asked.stderr.strip()}")
    return root / asked.stdout.strip()
