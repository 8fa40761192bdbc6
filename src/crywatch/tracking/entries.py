"""What DVC writes of a stage into dvc.lock, which it does only once the stage has ended.

A stage that DVC runs leaves a note in the project that keeps the store. Who comes next - a stage
that begins, `crywatch deliver`, a command that looks for runs - reads the entry that DVC has
written since, and gives it to the stage's run. The copy of an experiment is gone by then, and its
commit holds the lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core import gate, git, params, paths
from crywatch.core.atomic import read_json, write_json
from crywatch.tracking import journal, lineage, parent
from crywatch.tracking.lineage import Entry
from crywatch.tracking.store import FOLDER, Store, home

NOTES = FOLDER / "ended"
# Inputs of a stage that its rebuild shows too: what all of it is trained and measured on.
DATA = frozenset(path.as_posix() for path in (paths.SPLIT, paths.SPLIT_INFANTS))
COUNTS = "metrics.json"  # in a data set's folder: what it has so and so many of
ENTRY = "dvc.lock.entry"  # digest, of a stage's run
EXPERIMENTS = "refs/exps"  # refs/exps/<2 of the baseline>/<38 of it>/<name>
MAX_DIGEST = 36  # characters of a data set's digest, as MLflow limits it


@dataclass(frozen=True)
class LateEntry:
    """The entry of a stage that has ended."""

    note: Path  # to be removed when the run has it
    key: str  # of the run, its tag `parent.RUN`
    facts: dict[str, Any]  # of `facts`


def note(key: str, stage: str, values: dict[str, Any]) -> None:
    """Leave a note that this stage has ended and DVC is about to write its entry.

    ``values`` are the stage's params.yaml. OSError if there is no room for a note.
    """
    about = {
        "key": key,
        "stage": stage,
        "folder": os.path.relpath(Path.cwd(), home()),
        "experiment": os.environ.get("DVC_EXP_NAME", ""),
        "locks": _stamps(Path()),
        "commit": git.output(Path.cwd(), "rev-parse", "HEAD"),
        "params": values,
    }
    folder = home() / NOTES
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{key}.json", about)


def are_waiting() -> bool:
    """Whether a stage has ended whose entry its run does not have."""
    return any((home() / NOTES).glob("*.json"))


def late_entries(beginning: bool = False) -> Iterator[LateEntry]:
    """Entries that DVC has written since their stages ended.

    ``beginning``: a stage begins in the working directory. DVC has by then written the entry of the
    one before it, or never will: it was killed, say.
    """
    for path in sorted((home() / NOTES).glob("*.json")):
        try:
            about = read_json(path)
            folder = Path(os.path.normpath(home() / about["folder"]))
            changed = _stamps(folder) != about["locks"]
            stages = _stages(folder, about["experiment"]) if changed else {}
        except (OSError, ValueError, KeyError, TypeError, gate.GateError):
            # DVC is writing it just now
            continue
        entry = stages.get(about["stage"])
        if entry and not _is_of_another(entry, about, folder):
            yield LateEntry(path, about["key"], facts(about["stage"], stages))
        elif entry or not folder.is_dir() or (beginning and folder == Path.cwd()):
            path.unlink(missing_ok=True)


def facts(stage: str, stages: dict[str, Entry]) -> dict[str, Any]:
    """What a run gets of its entry in dvc.lock: tags, parameters, inputs, and what was skipped."""
    entry = stages[stage]
    tags = {parent.OUTS: lineage.outs_digest(entry.outs), ENTRY: lineage.entry_digest(entry)}
    return {
        "tags": tags | {f"out.{path}": digest for path, digest in entry.outs.items()},
        "params": lineage.logged(of_other_sections(stage.partition("@")[0], entry.params)),
        "inputs": [
            (path, digest[:MAX_DIGEST], "dvc", path, _counts(path))
            for path, digest in lineage.inputs(stage, stages).items()
        ],
        "skipped": {
            name: lineage.outs_digest(stages[name].outs) for name in lineage.upstream(stage, stages)
        },
    }


def give(store: Store, key: str, facts: dict[str, Any], at_ms: int) -> bool:
    """Give a run what DVC wrote of it; False where the store does not have the run.

    To give it again adds nothing.
    """
    from mlflow.entities import Param, RunTag

    run = store.run(parent.find_only(store, parent.RUN, key))
    if run is None:
        return False
    run_id = run.info.run_id
    tags = [RunTag(name, value) for name, value in facts["tags"].items()]
    more = [Param(k, v) for k, v in facts["params"].items() if k not in run.data.params]
    store.client.log_batch(run_id, params=more, tags=tags)
    give_inputs(store, run_id, run.data.tags[parent.PARENT], facts["inputs"])
    parent.note_skipped(store, run.data.tags[parent.PARENT], facts["skipped"], at_ms)
    return True


def settle(store: Store) -> None:
    """Give all runs of this store what DVC has written of them since they ended."""
    for entry in late_entries():
        if give(store, entry.key, entry.facts, journal.Clock().now_ms()):
            entry.note.unlink(missing_ok=True)


def give_inputs(store: Store, run_id: str, parent_id: str, inputs: list[list[str]]) -> None:
    """Log data sets as inputs of a stage's run, and `DATA` of its rebuild too.

    Each is a name, a digest, a kind, a path and, where it is known, what it holds (JSON).
    """
    from mlflow.entities import Dataset, DatasetInput

    datasets = [
        DatasetInput(
            Dataset(
                name, digest, kind, json.dumps({"uri": path}), profile=next(iter(counts), None)
            ),
            [],
        )
        for name, digest, kind, path, *counts in inputs
    ]
    above = [one for one in datasets if one.dataset.name in DATA]
    for each, its in ((run_id, datasets), (parent_id, above)):
        if its:
            store.client.log_inputs(each, its)


def _counts(path: str) -> str | None:
    try:
        return json.dumps(read_json(Path(path) / COUNTS))
    except (OSError, ValueError):
        return None


def of_other_sections(stage: str, values: dict[str, Any]) -> dict[str, Any]:
    """Of the parameters that dvc.yaml lists for a stage, those outside of its own section.

    Entries of other stages' sections are left out; what is set for the corpus is the stage's.
    """
    return {
        name: value
        for name, value in values.items()
        if name != stage and ("." not in name or name.startswith("corpus."))
    }


def experiment_commit(project: Path, name: str) -> str:
    """SHA of the latest experiment of DVC with that name; empty without one."""
    if not gate.REFERENCE.fits(name):
        return ""
    order, shape = "--sort=-committerdate", "--format=%(objectname)"
    shas = git.output(project, "for-each-ref", order, shape, f"{EXPERIMENTS}/*/*/{name}")
    return next(iter(shas.split()), "")


def lock_at(project: Path, commit: str) -> dict[str, Entry]:
    """Stages in dvc.lock at a commit; empty without one. GateError where it is no lock."""
    if not gate.COMMIT.fits(commit):
        return {}
    return lineage.parse_lock(git.output(project, "show", f"{commit}:./{lineage.LOCK}"))


def _is_of_another(entry: Entry, about: dict[str, Any], folder: Path) -> bool:
    """Whether the lock was brought from elsewhere since: another commit's, or other parameters'."""
    in_entry = json.loads(json.dumps(entry.params, default=str))  # keys as in the note
    if any(params.at(about["params"], name) != given for name, given in in_entry.items()):
        return True
    before, now = (
        about["commit"],
        git.output(folder, "rev-parse", "HEAD") if folder.is_dir() else "",
    )
    if not before or not now or before == now:
        return False
    return git.run(folder, "merge-base", "--is-ancestor", before, now).returncode != 0


def _stages(folder: Path, experiment: str) -> dict[str, Entry]:
    """Of dvc.lock in a folder, or of the experiment's commit where the folder is gone."""
    if folder.is_dir():
        return lineage.lock_stages(folder)
    return lock_at(home(), experiment_commit(home(), experiment))


def _stamps(folder: Path) -> list[list[int]]:
    """What tells whether a lock was written: DVC does so even where nothing differs."""
    return [_stamp(folder / lock) for lock in lineage.LOCKS]


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_ino, status.st_size]
