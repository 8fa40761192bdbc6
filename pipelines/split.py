"""Split all clips by group: `python pipelines/split.py`."""

from crywatch import params, paths, tracking
from crywatch.split import SplitConfig, run


def main() -> None:
    with tracking.stage_run("split") as log:
        folders = [paths.clean(corpus) for corpus in params.plain("corpora")]
        summary = run(
            [folder / "clips.parquet" for folder in folders],
            params.section("split", SplitConfig),
            params.plain("seed"),
            paths.SPLIT,
            [folder / "events.parquet" for folder in folders],
        )
        log.metrics(summary.as_metrics())
        log.table(summary.table, "split.csv")
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.outputs(paths.SPLIT)


if __name__ == "__main__":
    main()
