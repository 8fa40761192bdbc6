"""Measure what was scored: `python pipelines/evaluate.py`."""

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.core.charts import curve_figure, score_figure
from crywatch.data.selection import Source
from crywatch.evaluation.evaluate import EvaluateConfig, run
from crywatch.evaluation.evaluate.detection.charts import FOLDER
from crywatch.evaluation.evaluate.detection.figures import (
    confusion_figure,
    det_figure,
    histogram_figure,
)
from crywatch.evaluation.evaluate.detection.seconds import FILE, ends_of


def main() -> None:
    with tracking.stage_run("evaluate") as log:
        config = params.section("evaluate", EvaluateConfig)
        sources = list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))
        summary = run(paths.SCORE, sources, config, params.plain("seed"), paths.EVALUATE)
        headline, metrics = summary.headline(config), summary.detection.metrics
        ends = ends_of(headline, metrics)
        log.headline(headline | {name: metrics[name] for name in ends})
        rest = {name: metrics[name] for name in metrics.keys() - ends - headline.keys()}
        log.metrics(rest | summary.compared(config))
        for name in ("tables.json", "events.json", FILE):
            log.artifact(paths.EVALUATE_DETECTION / name)
        charts = paths.EVALUATE_DETECTION / FOLDER
        log.artifact(charts, FOLDER)
        for name, x, y in (("roc", "fpr", "tpr"), ("pr", "recall", "precision")):
            log.figure(curve_figure(charts / f"{name}.csv", x, y), f"{name}.png")
        drawn = {"det": det_figure, "histograms": histogram_figure, "confusion": confusion_figure}
        for name, draw in drawn.items():
            log.figure(draw(pd.read_csv(charts / f"{name}.csv")), f"{name}.png")
        log.figure(score_figure(summary.detection.measured), "scores.png")
        for name in ("tables.json", "channels.svg", "probe.svg"):
            log.artifact(paths.EVALUATE_SHORTCUTS / name, "shortcuts")
        for name in ("tables.json", "comparison.svg"):
            log.artifact(paths.EVALUATE_SYSTEMS / name, "systems")


if __name__ == "__main__":
    main()
