"""Train one BlazeNet variant: `python pipelines/train_blazenet.py all_1s`."""

import sys
from collections.abc import Callable
from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.blazenet.choosing import BlazenetInputs
from crywatch.detection.blazenet.pictures import PicturesConfig, folder_name
from crywatch.detection.blazenet.train_blazenet import (
    BlazenetEpoch,
    BlazenetSummary,
    TrainBlazenetConfig,
    rank,
    run,
)


def main(variant: str) -> None:
    if rank() and params.section("train_blazenet", TrainBlazenetConfig).trainer.follows:
        train(variant)  # the first process of the training records it
        return
    with tracking.stage_run("train_blazenet", variant) as log:

        def on_epoch(epoch: BlazenetEpoch) -> None:
            values = asdict(epoch)
            log.metrics(values, step=values.pop("epoch"))

        summary = train(variant, on_epoch)
        if summary is None:
            log.tags({"missing": paths.missing_note(paths.TRAIN_BLAZENET / variant)})
            return
        log.metrics(summary.as_metrics())
        log.dataset("clips", paths.SPLIT_CLIPS)
        log.model(f"blazenet-{variant}", paths.TRAIN_BLAZENET / variant)


def train(
    variant: str, on_epoch: Callable[[BlazenetEpoch], None] | None = None
) -> BlazenetSummary | None:
    config = params.section("train_blazenet", TrainBlazenetConfig)
    picture = config.recipe(variant).front_end, config.variant(variant).segment_s
    return run(
        variant,
        config,
        params.section("pictures", PicturesConfig).front_end(*picture),
        BlazenetInputs(
            features=paths.PICTURES / folder_name(*picture),
            split=Source(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS),
            soundscapes=Source(
                paths.SOUNDSCAPES / "clips.parquet", paths.SOUNDSCAPES / "events.parquet"
            ),
            untrimmed_clips=paths.DATASETS["untrimmed"],
            mined_trimmed=paths.MINE / "trimmed" / paths.MINED_SECONDS,
            mined_untrimmed=paths.MINE / "untrimmed" / paths.MINED_SECONDS,
            mined_published=paths.MINED_PUBLISHED / paths.MINED_SECONDS,
        ),
        params.plain("schedule.scale"),
        paths.TRAIN_BLAZENET / variant,
        paths.WORK / "train_blazenet" / variant,
        on_epoch,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
