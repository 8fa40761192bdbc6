"""Every system on the same seconds: `python pipelines/compare_detectors.py`."""

from crywatch import params, paths, tracking
from crywatch.compare_detectors import CompareDetectorsConfig, run
from crywatch.selection import Source
from crywatch.systems import VARIANTS, systems


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
        log.outputs(paths.COMPARE_DETECTORS)


if __name__ == "__main__":
    main()
