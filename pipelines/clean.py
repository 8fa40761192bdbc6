"""Clean one corpus: `python pipelines/clean.py esc50`."""

import sys

from crywatch import corpora, tracking
from crywatch.core import params, paths
from crywatch.data.clean import CleanConfig, run


def main(corpus: str) -> None:
    with tracking.stage_run("clean", corpus) as log:
        out = paths.clean(corpus)
        config = params.section("clean", CleanConfig)
        work = paths.WORK / "clean" / corpus
        summary = run(corpora.get(corpus), config, paths.raw(corpus), out, work)
        log.metrics(summary.as_metrics())
        log.dataset("clips", out / "clips.parquet")
        log.artifact(out / "summary.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
