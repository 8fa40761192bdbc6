"""Train one anomaly head on a network's features: `python pipelines/train_rtfm.py trimmed`."""

import sys
from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.anomaly.train_rtfm import TrainRtfmConfig, run


def main(variant: str) -> None:
    with tracking.stage_run("train_rtfm", variant) as log:

        def on_evaluation(evaluation):
            values = asdict(evaluation)
            log.metrics(values, step=values.pop("step"))

        config = params.section("train_rtfm", TrainRtfmConfig)
        backbone = config.variant(variant)
        out = paths.TRAIN_RTFM / variant
        summary = run(
            variant,
            config,
            paths.DATASETS,
            paths.family(backbone.family) / backbone.backbone,
            params.plain("schedule.scale"),
            params.plain("seed"),
            out,
            paths.WORK / "train_rtfm" / variant,
            on_evaluation,
        )
        log.metrics(summary.as_metrics())
        log.model(f"rtfm-{variant}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
