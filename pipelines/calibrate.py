"""Calibrate one model and choose when it calls a cry: `python pipelines/calibrate.py robust`."""

import sys
from pathlib import Path

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.calibrate import CalibrateConfig, run


def main(name: str) -> None:
    with tracking.stage_run("calibrate", name) as log:
        config = params.section("calibrate", CalibrateConfig)
        out = paths.CALIBRATE / name
        summary = run(
            name,
            config,
            Path(config.model(name).folder),
            list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES)),
            out,
        )
        log.metrics(summary.as_metrics())
        log.artifact(out / "tables.json")
        log.model(f"calibrated-{name}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
