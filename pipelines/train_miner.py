"""Train the miner on one data set: `python pipelines/train_miner.py trimmed`."""

import sys
from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.anomaly.train_miner import TrainMinerConfig, run
from crywatch.detection.embedders import EmbedderConfig

CLIPS = {"trimmed": paths.SPLIT_CLIPS, "untrimmed": paths.UNTRIMMED / "clips.parquet"}


def main(dataset: str) -> None:
    with tracking.stage_run("train_miner", dataset) as log:

        def on_evaluation(evaluation):
            values = asdict(evaluation)
            log.metrics(values, step=values.pop("step"))

        out = paths.TRAIN_MINER / dataset
        summary = run(
            dataset,
            params.section("train_miner", TrainMinerConfig),
            params.section("embedder", EmbedderConfig),
            CLIPS,
            paths.EMBED,
            params.plain("schedule.scale"),
            params.plain("seed"),
            out,
            paths.WORK / "train_miner" / dataset,
            on_evaluation,
        )
        log.metrics(summary.as_metrics())
        log.dataset("clips", CLIPS[dataset])
        log.model(f"miner-{dataset}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
