"""Stages whose outputs are not those of the committed dvc.lock though only the machine is another.

Data stages give the same bytes on every x86-64; what is trained, or heard by what was trained, adds
float32 up in the order of the processor's registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crywatch.core import git
from crywatch.tracking import lineage

NAMES_ITS_RUN = "report"  # its page differs with every run
Stages = Mapping[str, Mapping[str, Any]]  # of a dvc.lock, by name


def line(project: Path) -> str:
    """What to say at a rebuild's end, in one line; "" where all is as it was committed."""
    path = project / lineage.LOCK
    committed = git.run(project, "show", f"HEAD:./{lineage.LOCK}")
    if committed.returncode or not path.is_file() or committed.stdout == path.read_text():
        return ""
    origins, followers = differing(_stages(committed.stdout), _stages(path.read_text()))
    if not origins:
        return ""
    after = f", and {len(followers)} that read them" if followers else ""
    return (
        "other outputs than in the committed dvc.lock from the same code, parameters and data: "
        f"{', '.join(origins)}{after}; models round otherwise on another processor: expected"
    )


def differing(committed: Stages, now: Stages) -> tuple[list[str], list[str]]:
    """Stages of both whose outputs differ: those with equal inputs, and those that read theirs.

    What differs because of another command, parameter or file of a person's is in neither.
    """
    known: dict[str, str] = {}  # same, origin, follower, changed

    def kind(name: str) -> str:
        if name not in known:
            known[name] = _kind(name)
        return known[name]

    def _kind(name: str) -> str:
        old, new = committed.get(name), now[name]
        if old is None or any(old.get(key) != new.get(key) for key in ("cmd", "params")):
            return "changed"
        before, after = _digests(old, "deps"), _digests(new, "deps")
        moved = [
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        ]
        for path in moved:
            makers = [other for other in now if lineage.related(path, _digests(now[other], "outs"))]
            if not makers or any(kind(maker) == "changed" for maker in makers):
                return "changed"
        if _digests(old, "outs") == _digests(new, "outs"):
            return "same"
        return "follower" if moved else "origin"

    kinds = {name: kind(name) for name in now if name.partition("@")[0] != NAMES_ITS_RUN}
    origins, followers = (
        [name for name, found in kinds.items() if found == wanted]
        for wanted in ("origin", "follower")
    )
    return origins, followers


def _digests(entry: Mapping[str, Any], what: str) -> dict[str, str]:
    return {item["path"]: item.get("md5", "") for item in entry.get(what, [])}


def _stages(text: str) -> Stages:
    import yaml

    return (yaml.load(text, lineage.YamlLoader) or {}).get("stages") or {}
