"""Train one system of the case study: `python pipelines/train_baselines.py svc`."""

import sys

from crywatch import tracking
from crywatch.audio.channels import channel
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.baselines.train_baselines import TrainBaselinesConfig, run


def main(model: str) -> None:
    with tracking.stage_run("train_baselines", model) as log:
        config = params.section("train_baselines", TrainBaselinesConfig)
        out = paths.TRAIN_BASELINES / model

        def on_epoch(epoch):
            log.metrics({k: v for k, v in epoch.items() if k != "epoch"}, step=epoch["epoch"])

        summary = run(
            model,
            config,
            channel(config.model(model).channel, params.plain("channels")),
            Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            params.plain("schedule.scale"),
            out,
            on_epoch,
        )
        log.metrics(summary.as_metrics())
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.model(f"baseline-{model}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
