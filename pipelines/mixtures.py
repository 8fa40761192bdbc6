"""Make recordings with known onsets from the split's clips: `python pipelines/mixtures.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.mixtures import MixturesConfig, run


def main() -> None:
    with tracking.stage_run("mixtures") as log:
        config = params.section("mixtures", MixturesConfig)
        seed = params.plain("seed")
        summary = run(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS, config, seed, paths.MIXTURES)
        log.metrics(summary.as_metrics())
        log.dataset("untrimmed", paths.UNTRIMMED / "clips.parquet")
        log.dataset("soundscapes", paths.SOUNDSCAPES / "clips.parquet")


if __name__ == "__main__":
    main()
