"""Calibrate one model and choose when it calls a cry: `python pipelines/calibrate.py robust`."""

import sys
from pathlib import Path

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.calibrate import CalibrateConfig, run
from crywatch.detection.peer.zero_shot import YamnetConfig


def main(name: str) -> None:
    with tracking.stage_run("calibrate", name) as log:
        config = params.section("calibrate", CalibrateConfig)
        model, out = config.model(name), paths.CALIBRATE / name
        yamnet = params.section("yamnet", YamnetConfig) if model.yamnet else None
        summary = run(
            name,
            config,
            Path(model.folder),
            list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES)),
            out,
            yamnet,
        )
        if summary is None:
            log.tags({"missing": paths.missing_note(out)})
            return
        log.metrics(summary.as_metrics())
        log.artifact(out / "tables.json")
        log.model(f"calibrated-{name}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
