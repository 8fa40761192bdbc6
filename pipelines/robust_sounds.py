"""Make the sounds of the robust trainings: `python pipelines/robust_sounds.py`."""

from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.robust.robust_sounds import RobustSoundsConfig, run


def main() -> None:
    with tracking.stage_run("robust_sounds") as log:
        summary = run(
            paths.SPLIT_CLIPS,
            params.section("robust_sounds", RobustSoundsConfig),
            params.plain("channels"),
            params.plain("yamnet.handle"),
            paths.ROBUST_SOUNDS,
            paths.WORK / "robust_sounds",
        )
        log.metrics(asdict(summary))
        log.dataset("clips", paths.SPLIT_CLIPS)


if __name__ == "__main__":
    main()
