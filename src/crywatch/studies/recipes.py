"""The page on the robust recipe: what each of its parts is worth, by cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crywatch.report.pages import ReportOrigin, SectionsPage, sections_page
from crywatch.report.tables import Table, number, read_output

Metrics = Mapping[str, float]  # ``scope/sound/unit/metric`` to value

STAGE = "studies/dvc.yaml:ablate_robust"
BASE = "base"
POOLED = "pooled"
SOUNDS = ("clean", "channel")
METRICS = {"average_precision": "AP", "auc": "AUC", "recall_at_1pct": "recall at 1 %"}


def recipes_page(
    folder: Path, recipes: Sequence[str], title: str, origin: ReportOrigin
) -> SectionsPage:
    """From the folders of ``ablate_robust`` below ``folder``; TableError where one is missing."""
    metrics: dict[str, Metrics] = {
        name: read_output(folder / name / "metrics.json", STAGE) for name in recipes
    }
    tables = {f"recipes-{sound}": ablation_tables(metrics, sound) for sound in SOUNDS}
    return sections_page("recipes", title, origin, f"{len(recipes)} recipes.", tables)


def ablation_tables(recipes: Mapping[str, Metrics], sound: str) -> list[Table]:
    """Of metrics.json by recipe: per second and per clip, of one of `SOUNDS`."""
    tables = []
    for unit in ("second", "clip"):
        keys = [key for key in _keys(recipes) if key.split("/")[1:3] == [sound, unit]]
        base = recipes.get(BASE, {})
        rows = [
            [name, *(_cell(metrics.get(key), base.get(key), name) for key in keys)]
            for name, metrics in recipes.items()
        ]
        if keys:
            tables.append(Table(f"Per {unit}", ["recipe", *map(_title, keys)], rows))
    return tables


def _keys(recipes: Mapping[str, Metrics]) -> list[str]:
    """The metrics to show, pooled ones first: of a corpus its average precision."""
    every = dict.fromkeys(key for metrics in recipes.values() for key in metrics)
    shown = [
        key for key in every if key.startswith(f"{POOLED}/") or key.endswith("/average_precision")
    ]
    return sorted(shown, key=lambda key: (not key.startswith(f"{POOLED}/"), key))


def _title(key: str) -> str:
    scope, _, _, metric = key.split("/")
    return f"{scope}: {METRICS[metric]}"


def _cell(value: float | None, base: float | None, name: str) -> str:
    if value is None or base is None or name == BASE:
        return number(value)
    return f"{number(value)} ({value - base:+.3f})"
