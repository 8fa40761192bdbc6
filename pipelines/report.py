"""Write the report: `python pipelines/report.py`."""

from crywatch import corpora, tracking
from crywatch.core import params, paths
from crywatch.corpora.shared.base import is_generated
from crywatch.report import (
    CorpusInputs,
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
        source, named = params.plain("data.source"), params.plain("corpora")
        here = commit()
        sheets = run(
            ReportInputs(
                corpora=[
                    CorpusInputs(
                        corpora.get(name),
                        paths.raw(name),
                        paths.clean(name),
                        is_generated(source, own["folder"]),
                    )
                    for name, own in named.items()
                ],
                split=paths.SPLIT,
                split_infants=paths.SPLIT_INFANTS,
                detection=DetectionInputs(
                    clips=paths.SPLIT_CLIPS,
                    split_table=paths.SPLIT_TABLE,
                    untrimmed_clips=paths.UNTRIMMED / "clips.parquet",
                    soundscapes_clips=paths.SOUNDSCAPES / "clips.parquet",
                    mine=paths.MINE,
                    evaluation=paths.EVALUATE_DETECTION,
                    decisions=[paths.CALIBRATE / name for name in params.plain("calibrate.models")],
                    exported=paths.EXPORT,
                ),
                infants=InfantsInputs(
                    cries=paths.CRIES,
                    verification=paths.EVALUATE_VERIFICATION,
                    fitted=paths.FIT_INFANTS,
                    timeline=paths.TIMELINE,
                    models=params.plain("fit_infants.models"),
                    model=params.plain("fit_infants.default"),
                    network=params.plain("embed_cries.network"),
                ),
                shortcuts=paths.EVALUATE_SHORTCUTS,
                systems=paths.EVALUATE_SYSTEMS,
            ),
            params.section("report", ReportConfig),
            ReportOrigin(params.plain("profile"), source, here.sha[:12], here.dirty),
            paths.REPORTS,
        )
        for sheet in sheets:
            log.metrics({f"{sheet.corpus.name}.{k}": v for k, v in sheet.as_metrics().items()})
        log.artifact(paths.REPORTS, "report")


if __name__ == "__main__":
    main()
