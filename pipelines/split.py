"""Split all clips by group: `python pipelines/split.py`."""

from crywatch import params, paths, tracking
from crywatch.split import SplitConfig, run


def main() -> None:
    with tracking.stage_run("split") as log:
        tables = [paths.clean(corpus) / "clips.parquet" for corpus in params.plain("corpora")]
        summary = run(
            tables, params.section("split", SplitConfig), params.plain("seed"), paths.SPLIT
        )
        log.metrics(summary.as_metrics())
        log.table(summary.table, "split.csv")
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.outputs(paths.SPLIT)


if __name__ == "__main__":
    main()
