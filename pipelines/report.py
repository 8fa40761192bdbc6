"""Write the detection report: `python pipelines/report.py`."""

from crywatch import params, paths, tracking
from crywatch.report import Inputs, ReportConfig, run
from crywatch.tracking.lineage import commit


def main() -> None:
    with tracking.stage_run("report") as log:
        corpora = params.plain("corpora")
        run(
            Inputs(
                clips=paths.SPLIT_CLIPS,
                split_table=paths.SPLIT_TABLE,
                quarantines=[paths.clean(name) / "quarantine.parquet" for name in corpora],
                untrimmed_clips=paths.UNTRIMMED / "clips.parquet",
                mine_metrics=paths.MINE / "metrics.json",
                evaluation=paths.EVALUATE_DETECTION,
            ),
            params.section("report", ReportConfig),
            params.plain("profile"),
            commit().sha[:12],
            paths.REPORTS,
        )
        log.artifact(paths.REPORTS, "report")
        log.outputs(paths.REPORTS)


if __name__ == "__main__":
    main()
