"""Score and measure every model: `python pipelines/evaluate_detection.py`."""

import pandas as pd

from crywatch import tracking
from crywatch.core import params, paths
from crywatch.core.charts import curve_figure, score_figure
from crywatch.core.errors import named
from crywatch.core.models import EMBEDDINGS
from crywatch.data.selection import Source
from crywatch.detection.blazenet.pictures import folder_name
from crywatch.evaluation.evaluate_detection import EvaluateDetectionConfig, run
from crywatch.evaluation.evaluate_detection.charts import FOLDER
from crywatch.evaluation.evaluate_detection.figures import (
    confusion_figure,
    det_figure,
    histogram_figure,
)
from crywatch.evaluation.evaluate_detection.scoring import ModelRef
from crywatch.evaluation.evaluate_detection.seconds import FILE, ends_of


def models() -> list[ModelRef]:
    found = [
        ModelRef(f"miner/{name}", paths.MINE / name, paths.EMBED, 1.0, "")
        for name in params.plain("mine.datasets")
    ]
    for name, body in params.plain("train_blazenet.variants").items():
        features = paths.PICTURES / folder_name(body["segment_s"])
        folder = paths.TRAIN_BLAZENET / name
        found.append(
            ModelRef(f"blazenet/{name}", folder, features, body["segment_s"], body["leave_out"])
        )
    for name, body in params.plain("train_rtfm.variants").items():
        features = paths.family(body["family"]) / body["backbone"] / EMBEDDINGS
        found.append(
            ModelRef(f"rtfm/{name}", paths.TRAIN_RTFM / name, features, 1.0, body["leave_out"])
        )
    variants = params.plain("train_robust.variants")
    for name in params.plain("evaluate_detection.robust"):
        leave_out = named(variants, name, "train_robust.variants")["leave_out"]
        found.append(ModelRef(f"robust/{name}", paths.TRAIN_ROBUST / name, None, 1.0, leave_out))
    return found


def main() -> None:
    with tracking.stage_run("evaluate_detection") as log:
        config = params.section("evaluate_detection", EvaluateDetectionConfig)
        sources = list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES))
        summary = run(models(), sources, config, paths.EVALUATE_DETECTION)
        headline, metrics = summary.headline(), summary.metrics
        ends = ends_of(headline, metrics)
        log.headline(headline | {name: metrics[name] for name in ends})
        log.metrics({name: metrics[name] for name in metrics.keys() - ends - headline.keys()})
        for name in ("tables.json", "events.json", FILE):
            log.artifact(paths.EVALUATE_DETECTION / name)
        charts = paths.EVALUATE_DETECTION / FOLDER
        log.artifact(charts, FOLDER)
        for name, x, y in (("roc", "fpr", "tpr"), ("pr", "recall", "precision")):
            log.figure(curve_figure(charts / f"{name}.csv", x, y), f"{name}.png")
        drawn = {"det": det_figure, "histograms": histogram_figure, "confusion": confusion_figure}
        for name, draw in drawn.items():
            log.figure(draw(pd.read_csv(charts / f"{name}.csv")), f"{name}.png")
        log.figure(score_figure(summary.seconds), "scores.png")


if __name__ == "__main__":
    main()
