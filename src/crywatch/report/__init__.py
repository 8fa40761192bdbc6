"""Stage ``report``: a page on detection, the paper's tables and Figure 3 beside what was measured,
pages on shortcuts, on the comparison of all systems and on infants, and a page of results that
quotes all of them, as HTML and Markdown; and a datasheet of each corpus.

`run` writes them. Each page has a module with a function ``..._page``, which collects the tables
and figures that a template of this folder shows; ``tables`` makes tables of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crywatch.core.atomic import atomic_dir
from crywatch.data import datasheet
from crywatch.data.datasheet import Datasheet, DatasheetConfig
from crywatch.report.detection import CorpusInputs, DetectionInputs, detection_page
from crywatch.report.infants import InfantsInputs, infants_page
from crywatch.report.pages import ReportOrigin, write_page
from crywatch.report.results import results_page
from crywatch.report.shortcuts import shortcuts_page
from crywatch.report.systems import systems_page

DATASHEETS = "datasheets"


@dataclass(frozen=True)
class ReportConfig:
    """Section ``report``."""

    title: str
    infants_title: str
    shortcuts_title: str
    comparison_title: str
    results_title: str
    results: list[str]  # rows that the page of results shows
    datasheet: DatasheetConfig


@dataclass(frozen=True)
class ReportInputs:
    """What the pages are made from."""

    corpora: list[CorpusInputs]
    split: Path  # folders of stage split
    split_infants: Path
    detection: DetectionInputs
    infants: InfantsInputs
    shortcuts: Path  # folders of evaluate
    systems: Path


def run(
    inputs: ReportInputs, config: ReportConfig, origin: ReportOrigin, out_dir: Path
) -> list[Datasheet]:
    """Write the pages as HTML and Markdown below ``out_dir``.

    And datasheets/CORPUS of each corpus; the datasheets are returned.
    """
    sections = {
        "shortcuts": shortcuts_page(inputs.shortcuts, config.shortcuts_title, origin),
        "comparison": systems_page(inputs.systems, config.comparison_title, origin),
        "results": results_page(
            inputs.systems,
            inputs.detection.decisions,
            inputs.infants,
            inputs.detection.exported,
            config.results,
            config.results_title,
            origin,
        ),
        "infants": infants_page(inputs.infants, config.infants_title, origin, out_dir),
    }
    detection = detection_page(inputs.detection, inputs.corpora, config.title, origin)
    with atomic_dir(out_dir) as temp:
        write_page(temp, "detection", "detection", detection)
        for name, page in sections.items():
            write_page(temp, name, "sections", page)
        return [
            datasheet.run(
                one.corpus,
                config.datasheet,
                one.clean,
                inputs.split,
                inputs.split_infants,
                one.generated,
                temp / DATASHEETS / one.corpus.name,
            )
            for one in inputs.corpora
        ]


__all__ = [
    "CorpusInputs",
    "DetectionInputs",
    "InfantsInputs",
    "ReportInputs",
    "ReportOrigin",
    "ReportConfig",
    "run",
]
