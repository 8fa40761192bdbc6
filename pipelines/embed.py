"""Embed every plain second: `python pipelines/embed.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.embedders.embed import EmbedConfig, run
from crywatch.detection.engine import EngineConfig, open_engine


def main() -> None:
    with tracking.stage_run("embed") as log:
        embedder = params.section("embedder", EmbedderConfig)
        with open_engine(params.section("engine", EngineConfig)) as engine:
            summary = run(
                paths.CLIPS_TABLES,
                embedder,
                params.section("embed", EmbedConfig),
                paths.EMBED,
                paths.WORK / "embed",
                engine,
            )
        log.metrics({"clips": summary.n_clips, "seconds": summary.n_seconds})
        log.tags({"embedder": embedder.name, "features": embedder.title})
        log.tags({"embedder.digest": summary.digest})


if __name__ == "__main__":
    main()
