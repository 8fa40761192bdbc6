"""The page of results: what the other pages measure, on one page that documentation can quote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crywatch.report.decision_tables import decision_tables, read_decisions
from crywatch.report.device_tables import device_tables
from crywatch.report.infants import InfantsInputs
from crywatch.report.pages import ReportOrigin, SectionsPage, sections_page
from crywatch.report.state_tables import state_tables
from crywatch.report.systems import (
    POOLED,
    RECORDED,
    SystemResults,
    case_study_table,
    headline_table,
    kind_tables,
    left_out_tables,
    main_table,
    scope_tables,
)
from crywatch.report.verification_tables import verification_tables


def results_page(
    systems: Path,
    decisions: Sequence[Path],
    infants: InfantsInputs,
    exported: Path,
    rows: Sequence[str],
    title: str,
    origin: ReportOrigin,
) -> SectionsPage:
    """Collect it from folders of ``evaluate``, ``calibrate``, ``export`` and the stages on infants.

    ``rows`` are those of the comparison that the table of systems shows, where they were measured.
    """
    results = SystemResults(systems)
    tables = {
        "headline": [headline_table(results)],
        "systems": [
            main_table(results, rows),
            *scope_tables(results, RECORDED, [POOLED]),
            *(
                each
                for channel in results.matched
                for each in scope_tables(results, channel, [POOLED])
            ),
        ],
        "left_out": left_out_tables(results),
        "kinds": kind_tables(results),
        "decisions": decision_tables(read_decisions(decisions)),
        "case_study": [case_study_table(results)],
        "infants": [*verification_tables(infants.verification), *state_tables(infants.fitted)],
        "devices": device_tables(exported),
    }
    return sections_page(
        "results",
        title,
        origin,
        "Every table is of this one rebuild.",
        tables,
        recall=f"{results.recall:g}",
    )
