"""Make BlazeNet's pictures for all variants: `python pipelines/blazenet_features.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.blazenet.blazenet_features import BlazenetFeaturesConfig, run


def main() -> None:
    with tracking.stage_run("blazenet_features") as log:
        summary = run(
            paths.CLIPS_TABLES,
            params.section("blazenet_features", BlazenetFeaturesConfig),
            paths.BLAZENET_FEATURES,
            paths.WORK / "blazenet_features",
        )
        log.metrics({f"segments_{name}": count for name, count in summary.n_segments.items()})


if __name__ == "__main__":
    main()
