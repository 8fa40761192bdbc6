"""``crywatch check``: is the data on this disk what dvc.lock says?

DVC takes an object of its cache for intact by its name and read-only bit, and a file of the tree by
its inode, size and time. What a disk, a program or a person changed behind these shows only when
every byte is read again, as here, also of the folders that corpora are copied from. What a
publisher changed under the same name is no dependency of a stage: it shows by what came of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from crywatch.core import gate, git
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
class BadFile:
    """A file with other bytes than it should have, or none."""

    path: Path  # absolute
    digest: str  # MD5 that it should have
    copy: Path | None = None  # absolute; a file that has it


@dataclass(frozen=True)
class Finding:
    """One thing that is not as dvc.lock says."""

    kind: str  # CACHE, OUTPUT, CORPUS or SOURCE
    stage: str  # as dvc.lock names it
    path: Path  # of the output, object or folder
    problem: str
    advice: str
    wrong: bool = True  # False: worth a line, and DVC knows it
    files: tuple[BadFile, ...] = ()

    @property
    def line(self) -> str:
        """For a terminal."""
        return f"{self.path} ({self.stage}): {self.problem}; {self.advice}"


@dataclass(frozen=True)
class _Listed:
    """A file of a folder, as DVC lists it."""

    relpath: str
    md5: str


@dataclass
class _Objects:
    """DVC's cache; each object is read once."""

    folder: Path
    bar: Any  # tqdm
    copies: dict[str, Path] = field(default_factory=dict)  # MD5 to a file that has it
    reported: set[str] = field(default_factory=set)  # objects that a finding names
    _intact: dict[str, bool | None] = field(default_factory=dict)

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def is_intact(self, digest: str) -> bool | None:
        """Whether the object has the bytes that it is named by; None if it is not there."""
        if digest not in self._intact:
            path = self.path(digest)
            self._intact[digest] = self.md5(path) == digest[:32] if path.is_file() else None
        return self._intact[digest]

    def md5(self, path: Path) -> str:
        """Of a file, which is read whole."""
        self.bar.update(path.stat().st_size)
        digest = lineage.file_md5(path)
        self.copies.setdefault(digest, path)
        return digest

    def md5s(self, folder: Path, names: Iterable[str]) -> dict[str, str]:
        """Of files below a folder, by name."""
        return {name: self.md5(folder / name) for name in names}

    def listing(self, digest: str) -> dict[str, str] | None:
        """Path to MD5 of a folder's files, where the object that says so is there and intact."""
        if not self.is_intact(digest):
            return None
        path = self.path(digest)
        entries: list[_Listed] = gate.read(list[_Listed], path)
        where = str(path)
        return {gate.below(e.relpath, where): gate.DVC_DIGEST(e.md5, where) for e in entries}


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
    path = root / lineage.LOCK
    if not path.is_file():
        raise CrywatchError(f"{path} is missing: run `crywatch repro` first")
    stages = _stages(path.read_text(encoding="utf-8"), path)
    chosen = {name: body for name, body in stages.items() if _is_chosen(name, body, only)}
    if only and not chosen:
        raise CrywatchError(f"{path}: no stage or output {', '.join(only)}")
    findings: list[Finding] = []
    with progress_bar("check", None, unit="B", scale=True) as bar:
        objects = _Objects(_cache(root) / OBJECTS, bar)
        for name, body in chosen.items():
            for out in body.get("outs", []):
                findings += _check_out(root, objects, name, Path(out["path"]), str(out["md5"]))
        for name, body in chosen.items():
            findings += _check_folders(root, objects, name, body)
    return [
        replace(finding, files=tuple(_with_copy(file, objects) for file in finding.files))
        for finding in findings
    ] + _check_sources(root, chosen, stages)


def _with_copy(file: BadFile, objects: _Objects) -> BadFile:
    return replace(file, copy=objects.copies.get(file.digest[:32]))


def mend(findings: Iterable[Finding]) -> list[str]:
    """Set the bad files of findings right; what was done, a line each.

    One that has its bytes elsewhere on this disk is written from there; any other is removed, for
    DVC fetches or makes only what is not there.
    """
    lines: dict[Path, str] = {}
    for file in (file for finding in findings for file in finding.files):
        if file.path in lines:
            continue
        if file.copy is not None and file.copy != file.path:
            with atomic_path(file.path) as temp:
                shutil.copyfile(file.copy, temp)
                if OBJECTS.name in file.path.parts:
                    os.chmod(temp, PROTECTED)
            lines[file.path] = f"{file.path}: written again from {file.copy}"
        elif file.path.is_file():
            file.path.unlink()
            lines[file.path] = f"{file.path}: removed"
    return list(lines.values())


def _check_out(root: Path, objects: _Objects, stage: str, out: Path, digest: str) -> list[Finding]:
    listing = objects.listing(digest) if digest.endswith(".dir") else {"": digest}
    needed = dict.fromkeys([digest, *(listing or {}).values()])
    findings = []
    for each in needed:
        if objects.is_intact(each) is False and each not in objects.reported:
            objects.reported.add(each)
            path, problem = objects.path(each), f"corrupted, the bytes are not {each}"
            findings.append(
                Finding(CACHE, stage, path, problem, MEND, files=(BadFile(path, each),))
            )
    if lacking := [each for each in needed if objects.is_intact(each) is None]:
        problem = f"{len(lacking)} objects are not in the cache"
        findings.append(Finding(CACHE, stage, out, problem, "`dvc pull` or `dvc repro`", False))
    there, anew = root / out, f"`dvc repro -f -s {stage}`"
    if not there.exists():
        problem, advice = "not in the working tree", "`dvc checkout` or `dvc repro`"
        return [*findings, Finding(OUTPUT, stage, out, problem, advice, wrong=False)]
    files = objects.md5s(there, lineage.names(there, root) if there.is_dir() else [""])
    if listing is None:
        if lineage.dir_digest(files) != digest:
            problem = "not what dvc.lock says, and nothing here tells which file it is"
            findings.append(Finding(OUTPUT, stage, out, problem, anew))
    elif files != listing:
        problem = f"not what dvc.lock says: {_difference(listing, files)}"
        wrong = [name for name in sorted(listing) if files.get(name) != listing[name]]
        # Whatever is there more may be a person's: only a stage made anew takes it away.
        advice = MEND if wrong else f"take it away, or {anew}"
        bad = tuple(BadFile(there / name, listing[name]) for name in wrong)
        findings.append(Finding(OUTPUT, stage, out, problem, advice, files=bad))
    return findings


def _check_folders(
    root: Path, objects: _Objects, stage: str, body: dict[str, Any]
) -> list[Finding]:
    """Folders outside the project that a corpus was copied from, against what was copied."""
    findings = []
    for dep in map(Path, (dep["path"] for dep in body.get("deps", []))):
        if not dep.is_absolute() and dep.parts[0] != "..":
            continue
        source, (out,) = root / dep, body["outs"]
        copy, listing = Path(out["path"]), objects.listing(str(out["md5"]))
        if not source.is_dir():
            problem = f"{source}, which it was copied from, is not there any more"
            findings.append(Finding(CORPUS, stage, copy, problem, "the copy stays", wrong=False))
        elif listing is not None:
            files = objects.md5s(source, lineage.names(source, root, place=copy))
            if files != listing:
                problem = f"{source} has changed since it was copied: "
                problem += _difference(listing, files)
                findings.append(Finding(CORPUS, stage, copy, problem, f"`dvc repro {stage}`"))
    return findings


def _check_sources(
    root: Path, chosen: dict[str, dict[str, Any]], stages: dict[str, dict[str, Any]]
) -> list[Finding]:
    """Stages that read no other's output and gave another one than in the last commit's lock."""
    committed = git.run(root, "show", f"HEAD:./{lineage.LOCK}")
    if committed.returncode:
        return []
    before = _stages(committed.stdout, Path(f"HEAD:{lineage.LOCK}"))
    made = [out["path"] for body in stages.values() for out in body.get("outs", [])]
    findings = []
    for name, body in chosen.items():
        old = before.get(name, {})
        reads_other = any(lineage.related(dep["path"], made) for dep in body.get("deps", []))
        if reads_other or body | {"outs": []} != old | {"outs": []}:
            continue
        digests = {out["path"]: out["md5"] for out in old.get("outs", [])}
        for path, md5 in ((out["path"], out["md5"]) for out in body.get("outs", [])):
            if digests.get(path, md5) != md5:
                problem = (
                    f"the same command and parameters gave other files than at the last commit "
                    f"({digests[path][:12]}, now {md5[:12]}): they changed where they come from, "
                    "under the same name"
                )
                advice = f"commit {lineage.LOCK} to accept them"
                findings.append(Finding(SOURCE, name, Path(path), problem, advice, wrong=False))
    return findings


def _difference(listing: dict[str, str], files: dict[str, str]) -> str:
    parts = (
        ("changed", [n for n in listing.keys() & files.keys() if listing[n] != files[n]]),
        ("missing", listing.keys() - files.keys()),
        ("more", files.keys() - listing.keys()),
    )
    return ", ".join(f"{len(names)} {kind}{_some(sorted(names))}" for kind, names in parts if names)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f" ({shown})" if shown else ""  # an output that is one file has no name in it


def _is_chosen(name: str, body: dict[str, Any], only: Sequence[str]) -> bool:
    outs = [out["path"] for out in body.get("outs", [])]
    return not only or any(
        name == each or name.startswith(f"{each}@") or lineage.related(each.rstrip("/"), outs)
        for each in only
    )


def _stages(text: str, path: Path) -> dict[str, dict[str, Any]]:
    try:
        stages = dict((yaml.load(text, lineage.YamlLoader) or {})["stages"])
        for name, out in ((n, out) for n, body in stages.items() for out in body.get("outs", [])):
            where = f"{path}: {gate.STAGE(name, str(path))}"
            gate.DVC_DIGEST(out["md5"], where)
            gate.below(out["path"], where)
        return stages
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        advice = "not a whole lock file: `crywatch repro` mends one that a kill cut off"
        raise CrywatchError(f"{path}: {advice}") from error


def _cache(root: Path) -> Path:
    """Where DVC is configured to keep its cache; other projects may share it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return Path(repo.cache.local_cache_dir)
    except DvcException as error:
        raise CrywatchError(f"{root}: {error}") from error
