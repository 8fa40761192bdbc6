"""Every system on the same seconds: `python pipelines/compare_detectors.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.systems import VARIANTS, systems
from crywatch.evaluation.compare_detectors import CompareDetectorsConfig, run


def main() -> None:
    with tracking.stage_run("compare_detectors") as log:
        config = params.section("compare_detectors", CompareDetectorsConfig)
        variants = {family: params.plain(key) for family, key in VARIANTS.items()}
        summary = run(
            systems(config.systems, variants, params.plain("yamnet.handle")),
            Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            config,
            params.plain("channels"),
            paths.COMPARE_DETECTORS,
        )
        log.headline(summary.headline(config.main))
        for name in ("tables.json", "comparison.svg"):
            log.artifact(paths.COMPARE_DETECTORS / name)


if __name__ == "__main__":
    main()
