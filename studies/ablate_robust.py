"""Cross-validate one change of the robust recipe: `python studies/ablate_robust.py base`."""

import sys

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.robust.train_robust import TrainRobustConfig
from crywatch.studies.ablate_robust import AblateRobustConfig, run


def main(recipe: str) -> None:
    with tracking.stage_run("ablate_robust", recipe) as log:
        out = paths.ABLATE_ROBUST / recipe
        summary = run(
            recipe,
            params.section("ablate_robust", AblateRobustConfig, params.STUDIES_FILE),
            params.section("train_robust", TrainRobustConfig).recipe(),
            Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            paths.ROBUST_SOUNDS,
            params.plain("schedule.scale"),
            out,
            paths.WORK / "ablate_robust" / recipe,
        )
        log.metrics(summary.as_metrics())
        log.dataset("clips", paths.SPLIT_CLIPS)


if __name__ == "__main__":
    main(*sys.argv[1:])
