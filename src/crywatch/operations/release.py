"""The lineage of the model that the package brings: written when it is released, shown by trace.

``python -m crywatch.operations.release`` in a rebuild of profile ``release`` copies its calibrated
model into the package, with ``lineage.json`` beside it; ``crywatch trace released`` shows that.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crywatch.core import git, params
from crywatch.core.atomic import read_json, write_json
from crywatch.core.digest import file_sha256
from crywatch.core.errors import CrywatchError
from crywatch.core.models import DESCRIPTION, WEIGHTS, load
from crywatch.detection import released

MODEL = "robust"  # of section calibrate
LOCK = "dvc.lock"


def release(project: Path, out: Path = released.FOLDER) -> dict[str, Any]:
    """Copy the calibrated model of the rebuild in ``project`` to ``out``; its lineage.

    Raises
    ------
    CrywatchError
        Code was changed since the commit, a stage is not in dvc.lock, or its model is another.
    """
    from crywatch import __version__, corpora
    from crywatch.tracking import lineage

    stage, folder = f"calibrate@{MODEL}", Path("data") / "calibrate" / MODEL
    own = (f":!{params.PARAMS_FILE}", f":!{LOCK}")  # what a rebuild of another profile writes
    if git.output(project, "status", "--porcelain", "--untracked-files=no", "--", ".", *own):
        raise CrywatchError(f"{project} has changes that are not committed: commit, `dvc repro`")
    stages = lineage.lock_stages(project)
    if stage not in stages:
        raise CrywatchError(f"{project / LOCK}: no {stage}: run `dvc repro {stage}`")
    made_by = {name: stages[name] for name in [*lineage.upstream(stage, stages), stage]}
    files = {name: lineage.file_md5(project / folder / name) for name in _names(project / folder)}
    if lineage.dir_digest(files) != made_by[stage].outs.get(folder.as_posix()):
        raise CrywatchError(f"{project / folder} is not what {LOCK} says: run `dvc repro {stage}`")
    outs = {path: digest for entry in made_by.values() for path, digest in entry.outs.items()}
    heard = load(project / folder).description["corpora"]
    record = {
        "version": __version__,
        "stage": stage,
        "commit": git.output(project, "rev-parse", "HEAD"),
        "sha256": {name: file_sha256(project / folder / name) for name in (DESCRIPTION, WEIGHTS)},
        "corpora": {
            name: {
                "licence": corpora.get(name).licence,
                "raw": outs.get(f"data/raw/{name}", ""),
                "clean": outs.get(f"data/clean/{name}", ""),
            }
            for name in heard
        },
        "stages": {name: entry.outs for name, entry in made_by.items()},
        "params": dict(
            sorted(
                (name, _without_folders(value))
                for entry in made_by.values()
                for name, value in lineage.flat(entry.params)
            )
        ),
    }
    out.mkdir(exist_ok=True)
    for name in record["sha256"]:
        shutil.copyfile(project / folder / name, out / name)
    write_json(out / released.LINEAGE.name, record)
    return record


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _without_folders(value: Any) -> Any:
    """A path of the machine that it was made on is of no use elsewhere: its last name is kept."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def trace(folder: Path | None = None) -> dict[str, Any]:
    """What `release` wrote, and under "sound" whether the model in ``folder`` is still that one.

    Without a folder it is the released model's.
    """
    folder = folder or released.FOLDER
    record = read_json(folder / released.LINEAGE.name)
    now = {name: file_sha256(folder / name) for name in record["sha256"]}
    return record | {"sound": now == record["sha256"]}


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
    for name, value in record["params"].items():
        yield f"  {name} = {json.dumps(value)}"
    yield "checks"
    state = "ok       the files have" if record["sound"] else "differs  the files do not have"
    yield f"  {state} the recorded digests"


if __name__ == "__main__":
    print(as_text(release(Path(sys.argv[1] if sys.argv[1:] else ".")) | {"sound": True}))
