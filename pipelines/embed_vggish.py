"""Embed every plain second: `python pipelines/embed_vggish.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.detection.embedders import EmbedderConfig
from crywatch.detection.embedders.embed_vggish import EmbedVggishConfig, run
from crywatch.detection.engine import EngineConfig, open_engine


def main() -> None:
    with tracking.stage_run("embed_vggish") as log:
        with open_engine(params.section("engine", EngineConfig)) as engine:
            summary = run(
                paths.CLIPS_TABLES,
                params.section("embedder", EmbedderConfig),
                params.section("embed_vggish", EmbedVggishConfig),
                paths.EMBED_VGGISH,
                paths.WORK / "embed_vggish",
                engine,
            )
        log.metrics({"clips": summary.n_clips, "seconds": summary.n_seconds})
        log.tags({"embedder": summary.name, "embedder.digest": summary.digest})


if __name__ == "__main__":
    main()
