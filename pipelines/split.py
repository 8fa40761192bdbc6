"""Split all clips by group and by infant: `python pipelines/split.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.split import SplitConfig, run


def main() -> None:
    with tracking.stage_run("split") as log:
        summary = run(
            [paths.clean(corpus) for corpus in params.plain("corpora")],
            params.section("split", SplitConfig),
            params.plain("seed"),
            paths.SPLIT,
            paths.SPLIT_INFANTS,
            params.plain(path=paths.KINDS),
        )
        log.metrics(summary.as_metrics() | summary.infants_as_metrics())
        log.table(summary.table, "split.csv")
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.dataset("infants", paths.INFANT_CLIPS)


if __name__ == "__main__":
    main()
