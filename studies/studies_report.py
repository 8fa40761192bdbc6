"""Write the pages on the studies: `python studies/studies_report.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.report.pages import ReportOrigin
from crywatch.studies.studies_report import StudiesReportConfig, run
from crywatch.tracking.lineage import commit


def main() -> None:
    with tracking.stage_run("studies_report") as log:
        here = commit()
        run(
            paths.ABLATE_ROBUST,
            list(params.plain("ablate_robust.recipes", params.STUDIES_FILE)),
            paths.SIMULATE_YEAR,
            params.section("studies_report", StudiesReportConfig, params.STUDIES_FILE),
            ReportOrigin(
                profile=params.plain("profile"),
                source=params.plain("data.source"),
                commit=here.sha[:12],
                dirty=here.dirty,
            ),
            paths.STUDIES_REPORT,
        )
        log.artifact(paths.STUDIES_REPORT, "report")


if __name__ == "__main__":
    main()
