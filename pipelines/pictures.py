"""Make BlazeNet's pictures for all variants: `python pipelines/pictures.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.blazenet.pictures import PicturesConfig, run


def main() -> None:
    with tracking.stage_run("pictures") as log:
        summary = run(
            paths.CLIPS_TABLES,
            params.section("pictures", PicturesConfig),
            paths.PICTURES,
            paths.WORK / "pictures",
        )
        log.metrics({f"segments_{name}": count for name, count in summary.n_segments.items()})


if __name__ == "__main__":
    main()
