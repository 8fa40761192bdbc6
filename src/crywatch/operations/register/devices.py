"""The files for devices that are registered with a model: what was exported of this very one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from crywatch.core import gate
from crywatch.core.digest import file_sha256, files_sha256
from crywatch.core.errors import CrywatchError, RegistryError
from crywatch.core.models import DESCRIPTION, WEIGHTS
from crywatch.detection.detectors import SIDECAR

EXPORT = "export"  # the folder's name among what is logged beside a version
DIGEST = "crywatch.export.sha256"  # tag of a version: of that folder, as `files_sha256([folder])`
PARITY = "parity.json"
_REMAKE = "`dvc repro export` makes it"


@dataclass(frozen=True)
class _About:
    """What is needed of a `SIDECAR`: SHA-256 by name of a file."""

    model: dict[str, str]
    files: dict[str, str]


def copy_exported(exported: Path, model: Path, out_dir: Path) -> str:
    """Copy the folder ``exported`` to ``out_dir``; its digest.

    CrywatchError, in one line, where it is not whole or not of the model folder ``model``; then
    there is no ``out_dir``.
    """
    if not (exported / SIDECAR).is_file():
        raise RegistryError(f"there is no {exported / SIDECAR}: {_REMAKE}")
    about: _About = gate.read(_About, exported / SIDECAR)
    if about.model != {name: file_sha256(model / name) for name in (DESCRIPTION, WEIGHTS)}:
        raise RegistryError(f"{exported} is of another model: {_REMAKE}")
    try:
        for name in [*about.files, SIDECAR, PARITY]:
            gate.below(name, f"{exported / SIDECAR}: files")
            (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(exported / name, out_dir / name)
        for name, sha256 in about.files.items():
            if file_sha256(out_dir / name) != sha256:
                raise RegistryError(f"{exported / name} is not what was exported: {_REMAKE}")
    except (CrywatchError, OSError) as error:
        shutil.rmtree(out_dir, ignore_errors=True)
        if isinstance(error, OSError):
            raise RegistryError(f"{error.filename}: {error.strerror}: {_REMAKE}") from error
        raise
    return files_sha256([out_dir])
