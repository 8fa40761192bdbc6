"""Every system on every second, through every channel: `python pipelines/score.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.data.selection import Source
from crywatch.detection.peer.zero_shot import YamnetConfig
from crywatch.detection.systems import VARIANTS, systems
from crywatch.evaluation.score import ScoreConfig, run
from crywatch.evaluation.scored import DETECTION, SHORTCUTS, SYSTEMS

WHOLE = ("miner", "blazenet", "rtfm")  # families of which every variant is measured


def main() -> None:
    with tracking.stage_run("score") as log:
        config = params.section("score", ScoreConfig)
        variants = {family: params.plain(key) for family, key in VARIANTS.items()}
        every = [f"{family}/{name}" for family in WHOLE for name in variants[family]]
        names = {
            DETECTION: [*every, *config.recorded],
            SHORTCUTS: config.audited.systems,
            SYSTEMS: config.compared.systems,
        }
        yamnet = params.section("yamnet", YamnetConfig)
        summary = run(
            {name: systems(listed, variants, yamnet) for name, listed in names.items()},
            list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES)),
            config,
            params.plain("channels"),
            paths.SCORE,
            paths.WORK / "score",
        )
        log.metrics(summary.as_metrics())


if __name__ == "__main__":
    main()
