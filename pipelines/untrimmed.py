"""Join untrimmed recordings from the split's clips: `python pipelines/untrimmed.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.untrimmed import UntrimmedConfig, run


def main() -> None:
    with tracking.stage_run("untrimmed") as log:
        config = params.section("untrimmed", UntrimmedConfig)
        summary = run(paths.SPLIT_CLIPS, config, params.plain("seed"), paths.UNTRIMMED)
        log.metrics(summary.as_metrics())
        log.dataset("recordings", paths.UNTRIMMED / "clips.parquet")


if __name__ == "__main__":
    main()
