"""What a rebuild is called and what its page says: what changed, and where to look.

A name is to tell two rebuilds apart in a table or a legend, so what was changed comes first, then
the profile, the commit and the time. All of it is made when the store gets the rebuild, which has
the parameters of the one before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from crywatch.core import git, params
from crywatch.core.redact import HIDDEN, found_in
from crywatch.tracking import lineage

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTE = "mlflow.note.content"  # that the UI shows as a run's description
CHANGED = "changed"  # a rebuild's tag: parameters that the one before had otherwise
BEFORE = "crywatch.before"  # and its run
ABSENT = "(none)"
NAMED, LISTED = 2, 20  # changes that a name, and a description, list
LONGEST = 24  # characters of a value in a name
PLAN = Path("dvc.yaml")
PLANS = (PLAN, Path("studies") / PLAN)
TRAINING = "workflowType=machine_learning"  # with the menu of it, not that of agents
# What a rebuild's description links to: words, a stage, and a path among its artifacts.
PAGES = (
    ("Detection", "report", "report/detection.html"),
    ("systems compared", "report", "report/comparison.html"),
    ("infants", "report", "report/infants.html"),
    ("shortcuts", "report", "report/shortcuts.html"),
    ("worst misses and false alarms", "evaluate", "charts/worst"),
    ("all of the evaluation", "evaluate", ""),
)

Changes = Mapping[str, tuple[str, str]]  # dotted name to the value before, and the one now


def here() -> dict[str, str]:
    """All of params.yaml as MLflow keeps it, with a mask in place of secrets."""
    return masked(lineage.logged(params.plain()))


def masked(values: Mapping[str, str]) -> dict[str, str]:
    """Parameters with a mask in place of those that belong into the environment."""
    return {k: HIDDEN if any(found_in({k: v})) else v for k, v in values.items()}


def uncommitted(now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What ``now`` has other than params.yaml of the commit; empty where git has none."""
    answer = git.run(Path.cwd(), "show", f"HEAD:./{params.PARAMS_FILE}")
    try:
        if answer.returncode or answer.stdout == params.PARAMS_FILE.read_text(encoding="utf-8"):
            return {}
        before = masked(lineage.logged(yaml.load(answer.stdout, lineage.YamlLoader) or {}))
    except (OSError, yaml.YAMLError):
        return {}
    return changes(before, now)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Parameters that differ, by name; `ABSENT` stands for one that is not there.

    Where runs go, and how they are shown, changes nothing that is made.
    """
    return {
        name: (before.get(name, ABSENT), now.get(name, ABSENT))
        for name in sorted({**before, **now})
        if before.get(name) != now.get(name) and not name.startswith("tracking.")
    }


def name(words: Iterable[str], changed: Changes, at_ms: int) -> str:
    """Of a rebuild: ``mine.top_t=3, demo f4de4d4+, 30 Nov 14:21``; local time."""
    values = [f"{k}={_short(now)}" for k, (_, now) in list(changed.items())[:NAMED]]
    more = [f"{len(changed) - NAMED} more"] if len(changed) > NAMED else []
    at = time.strftime("%d %b %H:%M", time.localtime(at_ms / 1000)).lstrip("0")
    return ", ".join([*values, *more, " ".join(filter(None, words)), at])


def changed_line(changed: Changes) -> str:
    """For a column of the table."""
    lines = [f"{k}: {_short(was)} → {_short(now)}" for k, (was, now) in changed.items()]
    more = f"; {len(lines) - LISTED} more" if len(lines) > LISTED else ""
    return ("; ".join(lines[:LISTED]) + more) or "nothing"


def note(run: Run, before: Run | None, stages: Mapping[str, str]) -> str:
    """Markdown for a rebuild's page; ``stages`` is stage to the run that has its outputs."""
    tags, experiment = run.data.tags, run.info.experiment_id
    commit = tags.get("git.commit", "")[:7] or "no commit"
    dirty = " with uncommitted changes" if tags.get("git.dirty") == "true" else ""
    profile = f"Profile **{tags.get('profile', '')}**, commit `{commit}`{dirty}."
    links = [
        link(experiment, f"runs/{stages[stage]}/artifacts/{path}".rstrip("/"), words)
        for words, stage, path in PAGES
        if stages.get(stage)
    ]
    # Links go first: MLflow covers what follows the first lines until it is asked for more.
    lines = [", ".join(links) + ".", "", profile] if links else [profile]
    if before is not None and before.data.params:
        earlier = link(experiment, f"runs/{before.info.run_id}", before.info.run_name)
        changed = changes(before.data.params, run.data.params)
        lines += ["", f"Parameters changed since {earlier}: {len(changed) or 'none'}."]
        if changed:
            lines += ["", "| parameter | before | now |", "| --- | --- | --- |"]
            lines += [_row(k, was, now) for k, (was, now) in list(changed.items())[:LISTED]]
    lines += ["", f"`crywatch compare {run.info.run_id}` tells whether it differs from another."]
    return "\n".join(lines)


def stage_note(stage: str, folder: Path) -> str:
    """What dvc.yaml of the project in ``folder`` says that a stage does; empty without a word."""
    return _stage_notes(folder).get(stage.partition("@")[0], "")


@lru_cache
def _stage_notes(folder: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in (folder / plan for plan in PLANS):
        try:
            content: Any = yaml.load(path.read_text(encoding="utf-8"), lineage.YamlLoader)
            stages = {k: v.get("do", v) for k, v in content["stages"].items()}
            texts |= {k: str(v.get("desc", "")) for k, v in stages.items()}
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError):
            continue
    return texts


def link(experiment: str, path: str, text: str) -> str:
    """``text`` (Markdown) that leads to ``path`` of an experiment in the UI, such as runs/ID."""
    return f"[{text}](#/experiments/{experiment}/{path}?{TRAINING})"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
