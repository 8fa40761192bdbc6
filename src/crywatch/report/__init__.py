"""Stage ``report``: a page on detection, the paper's tables and Figure 3 beside what was measured,
pages on shortcuts and on the comparison of all systems, and a page on infants; HTML and Markdown.

`run` writes them. Each page has a module with a function ``..._page``, which collects the tables
and figures that a template of this folder shows; ``tables`` makes tables of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_dir, write_text
from crywatch.report.detection import DetectionInputs, detection_page
from crywatch.report.infants import InfantsInputs, infants_page
from crywatch.report.pages import ReportOrigin, render
from crywatch.report.recipes import recipes_page
from crywatch.report.shortcuts import shortcuts_page
from crywatch.report.systems import systems_page


@dataclass(frozen=True)
class ReportConfig:
    """Section ``report``."""

    title: str
    infants_title: str
    shortcuts_title: str
    comparison_title: str
    recipes_title: str


@dataclass(frozen=True)
class ReportInputs:
    """What the pages are made from."""

    detection: DetectionInputs
    infants: InfantsInputs
    shortcuts: Path  # folder
    systems: Path  # folder of compare_detectors
    ablations: Path  # folder of folders
    recipes: list[str]  # in the order of the tables


def run(inputs: ReportInputs, config: ReportConfig, origin: ReportOrigin, out_dir: Path) -> None:
    """Write detection, shortcuts, comparison, recipes and infants, as HTML and as Markdown, below
    ``out_dir``."""
    ablations, recipes = inputs.ablations, inputs.recipes
    sections = {
        "shortcuts": shortcuts_page(inputs.shortcuts, config.shortcuts_title, origin),
        "comparison": systems_page(inputs.systems, config.comparison_title, origin),
        "recipes": recipes_page(ablations, recipes, config.recipes_title, origin),
        "infants": infants_page(inputs.infants, config.infants_title, origin, out_dir),
    }
    detection = detection_page(inputs.detection, config.title, origin)
    with atomic_dir(out_dir) as temp:
        for suffix in ("html", "md"):
            write_text(temp / f"detection.{suffix}", render(f"detection.{suffix}", detection))
            for name, page in sections.items():
                write_text(temp / f"{name}.{suffix}", render(f"sections.{suffix}", page))


__all__ = [
    "DetectionInputs",
    "InfantsInputs",
    "ReportInputs",
    "ReportOrigin",
    "ReportConfig",
    "run",
]
