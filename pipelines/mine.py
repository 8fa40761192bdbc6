"""Mine the top seconds of every clip: `python pipelines/mine.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.core.atomic import atomic_dir, write_json
from crywatch.detection.anomaly.mine import MineConfig, run
from crywatch.detection.engine import EngineConfig, open_engine


def main() -> None:
    with tracking.stage_run("mine") as log:
        config = params.section("mine", MineConfig)
        untrimmed = paths.UNTRIMMED
        where = open_engine(params.section("engine", EngineConfig))
        with atomic_dir(paths.MINE) as temp, where as engine:
            metrics = run(
                paths.SPLIT_CLIPS,
                paths.TRAIN_MINER / "trimmed",
                paths.EMBED,
                config,
                temp / "trimmed.parquet",
                engine=engine,
            ).as_metrics("trimmed")
            metrics |= run(
                untrimmed / "clips.parquet",
                paths.TRAIN_MINER / "untrimmed",
                paths.EMBED,
                config,
                temp / "untrimmed.parquet",
                untrimmed / "events.parquet",
                engine,
            ).as_metrics("untrimmed")
            write_json(temp / "metrics.json", metrics)
        log.metrics(metrics)


if __name__ == "__main__":
    main()
