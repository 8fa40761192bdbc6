"""Draw each infant's timeline and say what was unusual: `python pipelines/timeline.py`."""

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.corpora.base import is_generated
from crywatch.infants.timeline import METRICS, PAGE, run
from crywatch.infants.timeline.charts import timelines_figure
from crywatch.infants.timeline.config import TimelineConfig


def main() -> None:
    with tracking.stage_run("timeline") as log:
        source = params.plain("data.source")
        corpora = params.plain("corpora").items()
        result = run(
            paths.FOLLOW_INFANTS,
            paths.CRIES,
            params.section("timeline", TimelineConfig),
            params.plain("seed"),
            [name for name, own in corpora if is_generated(source, own["folder"])],
            paths.TIMELINE,
        )
        log.metrics(result.as_metrics())
        log.figure(timelines_figure(result.timelines, result.summaries), "timelines.png")
        log.artifact(paths.TIMELINE / PAGE, "timeline")
        log.artifact(paths.TIMELINE / METRICS, "timeline")
        log.dataset("followed", paths.FOLLOW_INFANTS / "followed.parquet")


if __name__ == "__main__":
    main()
