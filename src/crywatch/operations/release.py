"""The lineage of the model that the package brings: written when it is released, shown by trace.

``python -m crywatch.operations.release`` in a rebuild of profile ``release`` copies its calibrated
model into the package and exports it beside its weights (what decides is the export, without
torch), with ``lineage.json``; ``crywatch trace released`` shows that.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crywatch.core import git, params
from crywatch.core.atomic import read_json, write_json, write_text
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError
from crywatch.core.models import DESCRIPTION, WEIGHTS, describe
from crywatch.corpora.terms import terms_of_model
from crywatch.detection import released
from crywatch.detection.detectors import SIDECAR
from crywatch.detection.devices.detector import ONNX
from crywatch.operations import exported

if TYPE_CHECKING:
    from crywatch.detection.devices.export import ExportConfig

MODEL = "robust"  # of section calibrate
LOCK = "dvc.lock"
FILES = (DESCRIPTION, WEIGHTS, SIDECAR, ONNX)  # whose digests the lineage has


def release(project: Path, out: Path = released.FOLDER) -> dict[str, Any]:
    """Copy the calibrated model of the rebuild in ``project`` to ``out``; its lineage.

    Raises
    ------
    CrywatchError
        Code was changed since the commit, a stage is not in dvc.lock, or its model is another.
    """
    from crywatch import __version__, corpora
    from crywatch.detection.devices.export import ExportConfig
    from crywatch.tracking import lineage

    stage, folder = f"calibrate@{MODEL}", Path("data") / "calibrate" / MODEL
    own = (f":!{params.PARAMS_FILE}", f":!{LOCK}")  # what a rebuild of another profile writes
    if git.output(project, "status", "--porcelain", "--untracked-files=no", "--", ".", *own):
        raise CrywatchError(f"{project} has changes that are not committed: commit, `dvc repro`")
    listed = params.plain("corpora", project / params.PARAMS_FILE)
    others = {name for name in corpora.NAMES if name not in listed}  # of another rebuild's lock
    stages = {
        name: entry
        for name, entry in lineage.lock_stages(project).items()
        if name.partition("@")[2] not in others
    }
    if stage not in stages:
        raise CrywatchError(f"{project / LOCK}: no {stage}: run `dvc repro {stage}`")
    made_by = {name: stages[name] for name in [*lineage.upstream(stage, stages), stage]}
    files = {name: lineage.file_md5(project / folder / name) for name in _names(project / folder)}
    if lineage.dir_digest(files) != made_by[stage].outs.get(folder.as_posix()):
        raise CrywatchError(f"{project / folder} is not what {LOCK} says: run `dvc repro {stage}`")
    outs = {path: digest for entry in made_by.values() for path, digest in entry.outs.items()}
    heard = describe(project / folder)["corpora"]
    exporting = params.section("export", ExportConfig, project / params.PARAMS_FILE)
    record = {
        "version": __version__,
        "stage": stage,
        "commit": git.output(project, "rev-parse", "HEAD"),
        "sha256": {},
        "corpora": {
            name: {
                "licence": corpora.get(name).licence,
                "raw": outs.get(f"data/raw/{name}", ""),
                "clean": outs.get(f"data/clean/{name}", ""),
            }
            for name in heard
        },
        "stages": {name: entry.outs for name, entry in made_by.items()},
        "params": {
            name: _without_folders(value)
            for entry in made_by.values()
            for name, value in lineage.flat(entry.params)
        },
    }
    out.mkdir(exist_ok=True)
    for name in (DESCRIPTION, WEIGHTS):
        shutil.copyfile(project / folder / name, out / name)
    write_export(out, exporting)
    record["sha256"] = {name: file_sha256(out / name) for name in FILES}
    write_json(out / released.LINEAGE.name, record)
    write_text(out / "ATTRIBUTION.md", "\n".join(_attribution(project, heard)))
    return record


def write_export(folder: Path, config: ExportConfig) -> None:
    """Write ``window.onnx`` and the sidecar of the weights in ``folder``, compared with torch."""
    from crywatch.detection.devices import export

    terms = terms_of_model(describe(folder))
    said = {"commercial_use": terms.commercial_use, "terms": list(terms.licences)}
    with tempfile.TemporaryDirectory() as temp:
        written = Path(temp) / "exported"
        about = export.run(folder, replace(config, formats=["onnx"]), (), written, said).about
        shutil.copyfile(written / ONNX, folder / ONNX)
    about["files"] = {ONNX: about["files"][ONNX]}  # of an export's files this one is taken
    write_json(folder / SIDECAR, about)


def _attribution(project: Path, heard: Iterable[str]) -> Iterator[str]:
    """Whom the licences of the corpora that it heard ask to name."""
    from crywatch import corpora
    from crywatch.core.paths import raw

    yield "# Whom to name\n\nThe released model was trained on these sounds.\n"
    for name in heard:
        if lines := list(corpora.get(name).credits(project / raw(name))):
            yield "\n".join([*lines, ""])


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _without_folders(value: Any) -> Any:
    """A path of the machine that it was made on is of no use elsewhere: its last name is kept."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def trace(folder: Path | None = None) -> dict[str, Any]:
    """What `release` wrote, and whether the model in ``folder`` is still that one ("sound").

    Under "differs" are the files that are not. Without a folder it is the released model's.
    """
    folder = folder or released.FOLDER
    record = read_json(folder / released.LINEAGE.name)
    differs = exported.differing(folder, record["sha256"])
    return record | {"sound": not differs, "differs": differs}


def as_text(record: dict[str, Any]) -> str:
    """For people."""
    return "\n".join(_lines(record))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield f"released model of crywatch {record['version']}"
    for name, digest in record["sha256"].items():
        yield f"  {name:<17} sha256 {digest}"
    yield f"  made by           {record['stage']}"
    yield f"  commit            {record['commit']}"
    yield f"  card              {released.CARD}"
    yield "corpora"
    for name, corpus in record["corpora"].items():
        yield f"  {name}: {corpus['licence']}"
        yield f"    raw {corpus['raw']}, clean {corpus['clean']}"
    yield "stages"
    for stage, outs in record["stages"].items():
        yield f"  {stage}"
        for path, digest in outs.items():
            yield f"    {path} {digest}"
    yield "params"
    for name, value in sorted(record["params"].items()):
        yield f"  {name} = {json.dumps(value)}"
    yield "checks"
    yield from exported.check_lines(record["sha256"], record["differs"])


if __name__ == "__main__":
    print(as_text(release(Path(sys.argv[1] if sys.argv[1:] else ".")) | {"differs": []}))
