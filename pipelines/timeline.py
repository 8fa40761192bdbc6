"""Follow each infant, draw its timeline, say what was unusual: `python pipelines/timeline.py`."""

from dataclasses import asdict

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.corpora.shared.base import is_generated
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.evaluation.division import DivisionConfig
from crywatch.infants.models.registry import ModelsConfig
from crywatch.infants.timeline import FOLLOW, METRICS, PAGE, run
from crywatch.infants.timeline.charts import timelines_figure
from crywatch.infants.timeline.config import TimelineConfig


def main() -> None:
    with tracking.stage_run("timeline") as log:
        source = params.plain("data.source")
        corpora = params.plain("corpora").items()
        followed, result = run(
            paths.EMBED_CRIES,
            paths.GATE,
            paths.CRIES,
            params.section("timeline", TimelineConfig),
            params.section("fit_infants.conformal", ConformalConfig),
            params.section("fit_infants.evaluation.division", DivisionConfig),
            params.section("fit_infants.settings", ModelsConfig),
            params.plain("seed"),
            [name for name, own in corpora if is_generated(source, own["folder"])],
            paths.TIMELINE,
        )
        log.headline(followed.headline())
        log.metrics(result.as_metrics())
        log.table(pd.DataFrame(map(asdict, followed.rows)), "infants.csv")
        log.figure(timelines_figure(result.timelines, result.summaries), "timelines.png")
        log.artifact(paths.TIMELINE / PAGE, "timeline")
        log.artifact(paths.TIMELINE / METRICS, "timeline")
        log.artifact(paths.TIMELINE / FOLLOW / METRICS, "follow")


if __name__ == "__main__":
    main()
