"""Mix labelled soundscapes from the split's clips: `python pipelines/soundscapes.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.soundscapes import SoundscapesConfig, run


def main() -> None:
    with tracking.stage_run("soundscapes") as log:
        config = params.section("soundscapes", SoundscapesConfig)
        seed = params.plain("seed")
        summary = run(paths.SPLIT_CLIPS, paths.SPLIT_EVENTS, config, seed, paths.SOUNDSCAPES)
        log.metrics(summary.as_metrics())
        log.dataset("mixtures", paths.SOUNDSCAPES / "clips.parquet")


if __name__ == "__main__":
    main()
