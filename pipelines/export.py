"""Write the default model as files for devices: `python pipelines/export.py`."""

from pathlib import Path

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.devices.export import PARITY, ExportConfig, run


def main() -> None:
    with tracking.stage_run("export") as log:
        config = params.section("export", ExportConfig)
        sources = list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))
        summary = run(Path(config.model), config, sources, paths.EXPORT)
        log.metrics(summary.as_metrics())
        log.artifact(paths.EXPORT / PARITY)
        log.artifact(paths.EXPORT, "export")


if __name__ == "__main__":
    main()
