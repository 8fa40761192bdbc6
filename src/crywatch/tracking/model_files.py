"""The files of a model folder that goes into the registry or comes from it.

They are told by their names and digests before one of them is opened.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from crywatch.core.digest import files_sha256
from crywatch.core.errors import RegistryError
from crywatch.core.models import DESCRIPTION, WEIGHTS, own_files

FILES = (DESCRIPTION, WEIGHTS)  # that a model folder needs
SUFFIXES = (".json", ".safetensors", ".csv")  # that it may hold: nothing is executed by reading it


def snapshot(folder: Path, out_dir: Path) -> str:
    """Copy a model folder, so that nothing can change it while it is registered; its digest.

    RegistryError if it lacks a file or holds one of a kind that no model folder has.
    """
    if not folder.is_dir():
        raise RegistryError(f"{folder}: no model folder here: run `dvc repro` first")
    files = own_files(folder)
    _must_be_model(folder, files, str(folder))
    out_dir.mkdir(parents=True)
    for path in files:
        shutil.copy2(path, out_dir)
    return files_sha256([out_dir])


def _must_be_model(folder: Path, files: Iterable[Path], where: str) -> None:
    """Names only: nothing is opened."""
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or path.suffix not in SUFFIXES:
            raise RegistryError(
                f"{where}: {name} belongs to no model folder (plain files ending in "
                f"{', '.join(SUFFIXES)} do): it is not used"
            )
    for name in FILES:
        if not (folder / name).is_file():
            raise RegistryError(f"{where}: {name} is missing: it is no model folder")


def check(folder: Path, digest: str, where: str) -> None:
    """RegistryError unless the files at ``folder`` are a model folder with this digest."""
    if not folder.is_dir():
        raise RegistryError(f"{where}: the store holds no folder of this model")
    _must_be_model(folder, sorted(folder.rglob("*")), where)
    actual = files_sha256([folder])
    if actual != digest:
        raise RegistryError(
            f"{where}: its files have SHA-256 {actual[:12]}, and {digest[:12]} was registered: "
            "they were changed since, and are not used"
        )
