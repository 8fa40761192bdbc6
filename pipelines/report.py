"""Write the report: `python pipelines/report.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.report import (
    DetectionInputs,
    InfantsInputs,
    ReportConfig,
    ReportInputs,
    ReportOrigin,
    run,
)
from crywatch.tracking.lineage import commit


def main() -> None:
    with tracking.stage_run("report") as log:
        corpora = list(params.plain("corpora"))
        here = commit()
        run(
            ReportInputs(
                detection=DetectionInputs(
                    clips=paths.SPLIT_CLIPS,
                    split_table=paths.SPLIT_TABLE,
                    quarantines=[paths.clean(name) / "quarantine.parquet" for name in corpora],
                    untrimmed_clips=paths.UNTRIMMED / "clips.parquet",
                    soundscapes_clips=paths.SOUNDSCAPES / "clips.parquet",
                    mine_metrics=paths.MINE / "untrimmed" / "metrics.json",
                    evaluation=paths.EVALUATE_DETECTION,
                    decisions=[paths.CALIBRATE / name for name in params.plain("calibrate.models")],
                ),
                infants=InfantsInputs(
                    cries=paths.CRIES,
                    verification=paths.EVALUATE_VERIFICATION,
                    fitted=paths.FIT_INFANTS,
                    year=paths.SIMULATE_YEAR,
                    timeline=paths.TIMELINE,
                    models=params.plain("fit_infants.models"),
                    model=params.plain("fit_infants.default"),
                    network=params.plain("embed_cries.network"),
                ),
                shortcuts=paths.AUDIT_SHORTCUTS,
                systems=paths.COMPARE_DETECTORS,
                ablations=paths.ABLATE_ROBUST,
                recipes=list(params.plain("ablate_robust.recipes")),
            ),
            params.section("report", ReportConfig),
            ReportOrigin(
                profile=params.plain("profile"),
                source=params.plain("data.source"),
                commit=here.sha[:12],
                dirty=here.dirty,
            ),
            paths.REPORTS,
        )
        log.artifact(paths.REPORTS, "report")


if __name__ == "__main__":
    main()
