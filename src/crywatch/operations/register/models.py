"""Registered models as folders on disk: fetched once, checked at each use.

Below ``data/work/models`` each lies in a folder of its digest, and so do the files for devices that
were registered with one (NAME/3/export). What an alias named when it was last
looked up is kept beside them, so that a detector works while the store is down.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crywatch.core import gate, paths
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import RegistryError, UnreachableError
from crywatch.operations.register.devices import DIGEST, EXPORT
from crywatch.tracking import registry
from crywatch.tracking.model_files import check
from crywatch.tracking.registry import CHALLENGER, CHAMPION, ModelVersion
from crywatch.tracking.store import Store

MODELS = paths.WORK / "models"
RESOLVED = "resolved.json"


@dataclass(frozen=True)
class Resolved:
    """What a name meant when it was last looked up."""

    store: str  # address
    version: int
    sha256: str  # of the folder
    at: str  # ISO 8601, UTC


def parse(text: str, name: str) -> str | None:
    """NAME/ALIAS or NAME/3 of ``champion``, ``challenger`` or the same with its NAME; else None.

    ``/export`` may follow: the files for devices that were registered with it.
    """
    model = text.removesuffix(f"/{EXPORT}")
    if model in (CHAMPION, CHALLENGER):
        return f"{name}/{text}"
    head, _, which = model.rpartition("/")
    is_version = which in (CHAMPION, CHALLENGER) or which.isdigit()
    return text if head == name and is_version else None


def folder_of(store: Store, version: ModelVersion, models: Path = MODELS) -> Path:
    """The model folder of a version: from the cache if it is whole there, else from the store."""
    folder = models / version.digest
    if not _whole(folder, version.digest):
        gate.remove(folder, models)
        registry.download(store, version, folder)
    return folder


def exported_of(store: Store, version: ModelVersion, models: Path = MODELS) -> Path:
    """The files for devices of a version, as `folder_of`; RegistryError where it has none."""
    where = f"{version.name} {version.version}"
    if DIGEST not in version.tags:
        raise RegistryError(
            f"{where}: no files for devices were registered with it: `crywatch export "
            f"{version.name}/{version.version} --out FOLDER` makes them"
        )
    digest = gate.SHA256(version.tags[DIGEST], version.tag_named(DIGEST))
    folder = models / digest
    if _whole(folder, digest, exported=True):
        return folder
    gate.remove(folder, models)
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=models) as scratch:
        fetched = registry.download_artifact(store, version, EXPORT, Path(scratch))
        if (actual := files_sha256([fetched])) != digest:
            raise RegistryError(
                f"{where}: its files for devices have SHA-256 {actual[:12]}, and {digest[:12]} was "
                "registered: they were changed since, and are not used"
            )
        with atomic_dir(folder) as temp:
            shutil.copytree(fetched, temp, dirs_exist_ok=True)
    return folder


def use(name: str, say: Callable[[str], None], models: Path = MODELS) -> Path:
    """The folder of a registered model, as `parse` names it, for a command that uses one.

    The name is looked up at each use. Where the store does not answer, it is the version of the
    last time, if its files are here and whole; ``say`` gets a line on it.

    Raises
    ------
    UnreachableError
        The store does not answer, and the model is not at hand.
    RegistryError
        There is no such version, or its files are not what was registered.
    """
    model = name.removesuffix(f"/{EXPORT}")
    try:
        store = registry.open_registry(create=False)
        version = registry.find(store, *model.rsplit("/", 1))
    except UnreachableError as error:
        return _as_before(name, models, error, say)
    if version is None:
        raise RegistryError(
            f"{model}: no such model is registered: `crywatch register` makes one of "
            "params.yaml's register.model"
        )
    folder = (folder_of if model == name else exported_of)(store, version, models)
    try:
        names = _resolved(models)
    except gate.GateError:  # it is written anew
        names = {}
    before = names.get(name)
    now = Resolved(registry.address(), version.version, folder.name, registry.utc_now())
    if before is None or replace(before, at=now.at) != now:
        names[name] = now
        write_json(models / RESOLVED, {key: asdict(one) for key, one in names.items()})
    return folder


def _as_before(
    name: str, models: Path, error: UnreachableError, say: Callable[[str], None]
) -> Path:
    try:
        before = _resolved(models).get(name)
    except gate.GateError as damage:
        raise UnreachableError(f"{error}; {damage}") from error
    if before is None or before.store != registry.address():
        raise UnreachableError(
            f"{error}; {name} was never looked up here, so it is not known which model that is"
        ) from error
    folder = models / gate.SHA256(before.sha256, f"{models / RESOLVED}: {name}")
    if not _whole(folder, before.sha256, name.endswith(f"/{EXPORT}")):
        raise UnreachableError(
            f"{error}; {name} was version {before.version}, and {folder} does not hold it whole"
        ) from error
    say(f"{error}; {name} is version {before.version}, as it was on {before.at}")
    return folder


def _whole(folder: Path, digest: str, exported: bool = False) -> bool:
    if not folder.is_dir():
        return False
    if exported:
        return files_sha256([folder]) == digest
    try:
        check(folder, digest, str(folder))
    except RegistryError:
        return False
    return True


def _resolved(models: Path) -> dict[str, Resolved]:
    """By name; GateError where the file is damaged."""
    try:
        return gate.read(dict[str, Resolved], models / RESOLVED)
    except FileNotFoundError:
        return {}
