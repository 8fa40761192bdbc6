"""Draw each infant's timeline and say what was unusual: `python pipelines/timeline.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.infants.timeline import METRICS, PAGE, run
from crywatch.infants.timeline.charts import timelines_figure
from crywatch.infants.timeline.config import TimelineConfig


def main() -> None:
    with tracking.stage_run("timeline") as log:
        made = params.plain("data.source") == "generated"
        folders = {name: params.plain(f"corpus.{name}.folder") for name in params.plain("corpora")}
        result = run(
            paths.FOLLOW_INFANTS,
            paths.CRIES,
            params.section("timeline", TimelineConfig),
            params.plain("seed"),
            [name for name, folder in folders.items() if made and not folder],
            paths.TIMELINE,
        )
        log.metrics(result.as_metrics())
        log.figure(timelines_figure(result.timelines, result.summaries), "timelines.png")
        log.artifact(paths.TIMELINE / PAGE, "timeline")
        log.artifact(paths.TIMELINE / METRICS, "timeline")
        log.dataset("followed", paths.FOLLOW_INFANTS / "followed.parquet")


if __name__ == "__main__":
    main()
