"""The page on the robust recipe: what each of its parts is worth, by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.report.pages import Origin
from crywatch.report.sections import Section, SectionsReport
from crywatch.report.tables import Table, number

BASE = "base"
POOLED = "pooled"
HEARD = {"clean": "As recorded", "channel": "Through the telephone channel"}
CAUTION = (
    "Folds of the training and validation groups: no network is measured on a group that it heard, "
    "and nothing of the test part is read. One seed. In brackets: the difference to the whole "
    "recipe. Silent seconds count as nothing."
)
LEAD = (
    "Each line takes a part from the recipe or adds one. Within a corpus nothing but the sound "
    "tells a cry from the rest."
)


def build_recipes(
    folder: Path, recipes: Sequence[str], title: str, origin: Origin
) -> SectionsReport:
    """From the folders of ``ablate_robust`` below ``folder``; TableError where one is missing."""
    found = {name: _metrics(folder / name / "metrics.json") for name in recipes}
    sections = [
        Section(f"recipes-{heard}", text, LEAD, ablation_tables(found, heard))
        for heard, text in HEARD.items()
    ]
    facts = f"{len(recipes)} recipes."
    return SectionsReport(title, origin, facts, CAUTION, sections)


def ablation_tables(found: Mapping[str, Mapping[str, float]], heard: str) -> list[Table]:
    """Of metrics.json by recipe: per second and per clip, of what was ``heard``."""
    tables = []
    for unit in ("second", "clip"):
        keys = [key for key in _keys(found) if key.split("/")[1:3] == [heard, unit]]
        if not keys:
            continue
        base = found.get(BASE, {})
        rows = [
            [name, *(_cell(metrics.get(key), base.get(key), name) for key in keys)]
            for name, metrics in found.items()
        ]
        tables.append(Table(f"Per {unit}", ["recipe", *map(_title, keys)], rows))
    return tables


def _keys(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """``scope/heard/unit/metric`` to show: of a corpus its average precision."""
    every = dict.fromkeys(key for metrics in found.values() for key in metrics)
    shown = [
        key for key in every if key.startswith(f"{POOLED}/") or key.endswith("/average_precision")
    ]
    return sorted(shown, key=lambda key: (not key.startswith(f"{POOLED}/"), key))


def _title(key: str) -> str:
    scope, _, _, metric = key.split("/")
    short = {"average_precision": "AP", "auc": "AUC", "recall_at_1pct": "recall at 1 %"}
    return f"{scope}: {short[metric]}"


def _cell(value: float | None, base: float | None, name: str) -> str:
    if value is None or base is None or name == BASE:
        return number(value)
    return f"{number(value)} ({value - base:+.3f})"


def _metrics(path: Path) -> dict[str, float]:
    if not path.is_file():
        raise TableError(f"{path} is missing: run `dvc repro ablate_robust`")
    return read_json(path)
