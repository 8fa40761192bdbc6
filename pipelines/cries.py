"""Cut the recordings of known infants to cries: `python pipelines/cries.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.speaker.cries import CriesConfig, detail_tables, run
from crywatch.speaker.cries.drawing import step_figures


def main() -> None:
    with tracking.stage_run("cries") as log:
        config = params.section("cries", CriesConfig)
        folders = [paths.clean(corpus) for corpus in params.plain("corpora")]
        events, details = [folder / "events.parquet" for folder in folders], detail_tables(folders)
        summary = run(paths.INFANT_CLIPS, events, details, config, paths.CRIES)
        log.metrics(summary.as_metrics())
        for name, figure in step_figures(paths.INFANT_CLIPS, events, details, config):
            log.figure(figure, f"{name}.png")
        log.dataset("infants", paths.INFANT_CLIPS)


if __name__ == "__main__":
    main()
