"""Is there a reason to rebuild? What is there now against what the last rebuild was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crywatch.core.digest import value_sha256
from crywatch.operations.retrain import recipe, watch
from crywatch.operations.retrain.config import RetrainConfig
from crywatch.operations.retrain.record import RunFolder, State
from crywatch.operations.retrain.watch import FOLDER, PUBLISHERS, Changes, Seen

NAMED = 5  # files of the project that a reason names


@dataclass(frozen=True)
class Look:
    """What there is now."""

    recipe: recipe.Recipe
    corpora: dict[str, Seen]
    targets: list[str]
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of all that a rebuild is made of; the commit counts by what DVC sees of it."""
        told = {name: seen.digest for name, seen in self.corpora.items()}
        return value_sha256([self.recipe.files, self.recipe.params, told, self.targets])


@dataclass(frozen=True)
class Decision:
    """What is to be done."""

    reasons: tuple[str, ...]  # none: nothing is
    read: tuple[str, ...] = ()  # corpora that must be read again
    changes: dict[str, Changes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def look(
    project: Path,
    config: RetrainConfig,
    values: Mapping[str, Any],
    runs: RunFolder,
    state: State | None,
    write: bool,
) -> Look:
    """At the commit, the parameters and the sources of the corpora; nothing is rebuilt for it."""
    found = recipe.read(project, config.ref, values)
    corpora, notes = {}, []
    for name in values.get("corpora") or []:
        before = None if state is None else state.corpora.get(name)
        seen = watch.corpus(
            name, values, config.check_publishers, before, runs.listing(name), write
        )
        if seen.said:
            notes.append(f"corpus {name}: {seen.said}")
            if seen.kind == FOLDER and before is not None:
                seen = before  # away for now: what is there when it comes back is looked at then
        corpora[name] = replace(seen, said="")
    return Look(found, corpora, list(config.targets), tuple(notes))


def decide(state: State | None, now: Look, allowed: Sequence[str], force: str) -> Decision:
    """Compare; reasons that are not ``allowed`` (`RetrainConfig.reasons`) become notes."""
    found: list[tuple[str, str]] = [("force", f"forced: {force}")] if force else []
    changed, again = {}, []
    if state is None:
        found.append(("first", "no rebuild is on record here"))
        # What dvc.lock was made of is not known: a folder is read to be sure.
        again = [name for name, seen in now.corpora.items() if seen.kind == FOLDER and seen.files]
        return Decision(tuple(said for _, said in found), tuple(again))
    files = watch.changes(state.files, now.recipe.files)
    if files:
        names = [*files.new, *files.changed, *files.removed]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        said = f"commit {now.recipe.commit[:7]} changes {', '.join(names[:NAMED])}{more}"
        found.append(("commit", said))
    sections = watch.changes(state.params, now.recipe.params)
    if sections:
        names = [*sections.new, *sections.changed, *sections.removed]
        found.append(("params", f"parameters changed: {', '.join(names)}"))
    if state.targets != now.targets:
        found.append(("params", "retrain.targets changed"))
    for name, seen in now.corpora.items():
        before = state.corpora.get(name)
        if before is None or before.kind != seen.kind:
            if seen.kind == FOLDER:
                again.append(name)
            found.append(("data", f"corpus {name} is new, or comes from elsewhere"))
        elif seen.kind == PUBLISHERS and not before.files:
            continue  # asked for the first time
        elif one := watch.changes(before.files, seen.files):
            changed[name] = one
            again.append(name)
            found.append(("data", f"corpus {name}: {one.said}"))
    always = {"force", "first", *allowed}
    return Decision(
        tuple(said for kind, said in found if kind in always),
        tuple(again),
        changed,
        tuple(f"no reason here: {said}" for kind, said in found if kind not in always),
    )
