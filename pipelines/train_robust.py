"""Train one robust BlazeNet: `python pipelines/train_robust.py robust`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.robust.train_robust import TrainRobustConfig, run


def main(variant: str) -> None:
    with tracking.stage_run("train_robust", variant) as log:
        out = paths.TRAIN_ROBUST / variant

        def on_validation(progress):
            values = progress.as_row()
            log.metrics(values, step=values.pop("step"))

        summary = run(
            variant,
            params.section("train_robust", TrainRobustConfig),
            Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            paths.ROBUST_SOUNDS,
            paths.CLIPS_TABLES,
            params.plain("schedule.scale"),
            out,
            paths.WORK / "train_robust" / variant,
            on_validation,
        )
        log.metrics(summary.as_metrics())
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.model(f"robust-{variant}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
