"""Train the miner on one data set, and mine its clips: `python pipelines/mine.py trimmed`."""

import sys
from dataclasses import asdict

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.anomaly.mine import MineConfig, MineInputs, run
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.engine import EngineConfig, open_engine


def main(dataset: str) -> None:
    with tracking.stage_run("mine", dataset) as log:

        def on_evaluation(evaluation):
            values = asdict(evaluation)
            log.metrics(values, step=values.pop("step"))

        out = paths.MINE / dataset
        embedder = params.section("embedder", EmbedderConfig)
        joined = Source(paths.UNTRIMMED / "clips.parquet", paths.UNTRIMMED / "events.parquet")
        with open_engine(params.section("engine", EngineConfig)) as engine:
            summary = run(
                dataset,
                params.section("mine", MineConfig),
                embedder,
                MineInputs(paths.DATASETS, {"untrimmed": joined}, paths.EMBED),
                params.plain("schedule.scale"),
                params.plain("seed"),
                out,
                paths.WORK / "mine" / dataset,
                on_evaluation,
                engine,
            )
        log.metrics(summary.as_metrics())
        log.dataset("clips", paths.DATASETS[dataset])
        log.tags({"embedder": embedder.name, "features": embedder.title})
        log.model(f"{embedder.name}-miner-{dataset}", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
