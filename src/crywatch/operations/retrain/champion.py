"""The champion and what it was trained on, fetched from the registry when drift is looked for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import gate
from crywatch.core.digest import value_sha256
from crywatch.core.errors import CrywatchError

if TYPE_CHECKING:
    from crywatch.operations.drift import DriftReport

REFERENCE = "reference"


@dataclass(frozen=True)
class Drift:
    """How recent recordings compare, or why they were not compared."""

    recordings: str  # digest of which they are; "" without any
    report: DriftReport | None = None  # None: they were not compared
    note: str = ""


def newest(folder: Path, count: int) -> list[Path]:
    """The recordings that changed last, oldest of them first."""
    from crywatch.detection.detect import find_files

    ordered = sorted((path.stat().st_mtime_ns, path) for path in find_files([folder]))
    return [path for _, path in ordered[-count:]]


def look_for_drift(
    project: Path, recordings: str, values: Mapping[str, Any], compared: str, keep: Path
) -> Drift:
    """Compare the newest ``recordings`` with the champion's training data, if there are new ones.

    ``compared`` is the digest of those of the last time, ``keep`` a folder for the champion. What
    stands in the way is a note and no error: a rebuild does not depend on it.
    """
    if not recordings:
        return Drift("")
    from omegaconf import OmegaConf

    from crywatch.core import params
    from crywatch.operations.drift.measures import DriftConfig

    config = params.typed(OmegaConf.create(values["drift"]), DriftConfig, "params.yaml: drift")
    folder = Path(recordings).expanduser()
    folder = folder if folder.is_absolute() else project / folder
    if not folder.is_dir():
        return Drift("", note="drift: the folder retrain.recordings is not there")
    files = newest(folder, config.newest)
    stats = [[str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    digest = value_sha256([stats, values["drift"]])
    if digest == compared:
        return Drift(digest, note="drift: no new recordings since the last comparison")
    if len(files) < config.min_recordings:
        few = f"drift: {len(files)} recordings, {config.min_recordings} are needed"
        return Drift(digest, note=few)
    try:
        with contextlib.chdir(project):
            version, model, reference = fetch(values["register"]["name"], keep)
        from crywatch.operations.drift import check_drift

        report = check_drift(reference, files, model, config, values["seed"])
    except (CrywatchError, OSError, KeyError) as error:
        return Drift("", note=f"drift: not compared ({_short(error, folder, project)})")
    except Exception as error:  # the tracking server's own errors are of its library
        if not type(error).__module__.startswith(("mlflow", "sqlalchemy", "requests")):
            raise
        return Drift("", note=f"drift: not compared ({type(error).__name__} of the tracking store)")
    return Drift(digest, report, f"drift against version {version}: {report.said}")


def fetch(name: str, keep: Path) -> tuple[int, Path, Path]:
    """Version, model folder and reference folder of the champion, kept below ``keep``.

    They are named by the model's digest, for a number may come again in another store; what
    ``keep`` holds of earlier champions is removed.
    """
    from crywatch.operations.register.models import folder_of
    from crywatch.tracking import registry

    store = registry.open_registry()
    champion = registry.find(store, name, registry.CHAMPION)
    if champion is None:
        raise CrywatchError(f"{name} has no champion yet")
    folder = keep / champion.digest
    for old in keep.iterdir() if keep.is_dir() else ():
        if old != folder and gate.SHA256.fits(old.name) and not old.is_symlink():
            gate.remove(old, keep)
    model, reference = folder_of(store, champion, folder), folder / REFERENCE
    if not reference.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as part:
            files = registry.download_artifact(store, champion, REFERENCE, Path(part) / "files")
            os.replace(files, reference)
    return champion.version, model, reference


def _short(error: Exception, *folders: Path) -> str:
    text = str(error) or type(error).__name__
    for folder in folders:
        text = text.replace(str(folder), ".")
    return text
