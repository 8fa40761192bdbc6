"""What `crywatch export` wrote, held against what its sidecar says: ``crywatch trace FOLDER``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import gate
from crywatch.core.digest import file_sha256
from crywatch.core.errors import ModelError
from crywatch.detection.detectors import SIDECAR

AGAIN = "write it again with `crywatch export`"


@dataclass(frozen=True)
class Sidecar:
    """What is needed of it; digests are SHA-256 by name of a file."""

    name: str
    model: dict[str, str]  # what it was exported from
    files: dict[str, str]
    corpora: list[str]


@dataclass(frozen=True)
class ExportTrace:
    """An exported folder."""

    folder: str
    sidecar: Sidecar
    differs: list[str]  # files that are not there, or not what was written

    @property
    def sound(self) -> bool:
        """Whether every file is what was written."""
        return not self.differs


def trace(folder: Path) -> ExportTrace:
    """Of the ``folder``; ModelError where nothing was exported to it, or its sidecar is none."""
    path = folder / SIDECAR
    if not path.is_file():
        raise ModelError(
            f"{folder}: no {SIDECAR} in it: name a folder that `crywatch export` wrote, a version "
            "of the registry, or released"
        )
    try:
        sidecar: Sidecar = gate.read(Sidecar, path)
        for name in sidecar.files:
            gate.below(name, f"{path}: files")
    except gate.GateError as error:
        raise ModelError(f"{error}: {AGAIN}") from error
    return ExportTrace(str(folder), sidecar, differing(folder, sidecar.files))


def differing(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """Names of the files whose ``recorded`` SHA-256 is not theirs in ``folder``."""
    return [
        name
        for name, sha256 in recorded.items()
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256
    ]


def as_text(traced: ExportTrace) -> str:
    """For people."""
    return "\n".join(_lines(traced))


def _lines(t: ExportTrace) -> Iterator[str]:
    yield f"{t.folder}: files for devices of {t.sidecar.name}"
    yield "exported from"
    for name, digest in t.sidecar.model.items():
        yield f"  {name:<17} sha256 {digest}"
    yield f"corpora: {', '.join(t.sidecar.corpora) or 'not recorded'}"
    yield "files"
    for name, digest in t.sidecar.files.items():
        yield f"  {name:<17} sha256 {digest}"
    yield "checks"
    yield from check_lines(t.sidecar.files, t.differs)


def check_lines(files: Mapping[str, str], differs: list[str]) -> Iterator[str]:
    """A line for each file that differs, or one for all."""
    for name in differs:
        yield f"  differs  {name}: missing, or not the bytes whose digest was recorded"
    if not differs:
        yield f"  ok       {len(files)} files have the recorded digests"
