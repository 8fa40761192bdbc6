"""Stage ``studies_report``: a page on the recipes and one on the generated year.

Both are HTML and Markdown, like the pages of stage ``report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_dir
from crywatch.report.pages import ReportOrigin, sections_page, write_page
from crywatch.studies.recipes import recipes_page
from crywatch.studies.year_tables import year_tables


@dataclass(frozen=True)
class StudiesReportConfig:
    """Section ``studies_report``."""

    recipes_title: str
    year_title: str


def run(
    ablations: Path,
    recipes: Sequence[str],
    year: Path,
    config: StudiesReportConfig,
    origin: ReportOrigin,
    out_dir: Path,
) -> None:
    """Write recipes and year below ``out_dir``.

    ``ablations`` has a folder for each of ``recipes``, ``year`` is that of ``simulate_year``;
    TableError where something is missing.
    """
    pages = {
        "recipes": recipes_page(ablations, recipes, config.recipes_title, origin),
        "year": sections_page(
            "year",
            config.year_title,
            origin,
            "Generated voices.",
            {"year": year_tables(year)},
            folders={"year": year},
        ),
    }
    with atomic_dir(out_dir) as temp:
        for name, page in pages.items():
            write_page(temp, name, "sections", page)
