"""Score and measure every model: `python pipelines/evaluate_detection.py`."""

from crywatch import params, paths, tracking
from crywatch.blazenet_features import folder_name
from crywatch.charts import curve_figure, score_figure
from crywatch.errors import named
from crywatch.evaluate_detection import EvaluateDetectionConfig, run
from crywatch.scoring import ModelRef
from crywatch.selection import Source


def models() -> list[ModelRef]:
    found = [
        ModelRef(f"miner/{name}", paths.TRAIN_MINER / name, paths.EMBED_VGGISH, 1.0, "")
        for name in params.plain("train_miner.datasets")
    ]
    for name, body in params.plain("train_blazenet.variants").items():
        features = paths.BLAZENET_FEATURES / folder_name(body["segment_s"])
        folder = paths.TRAIN_BLAZENET / name
        found.append(
            ModelRef(f"blazenet/{name}", folder, features, body["segment_s"], body["leave_out"])
        )
    for name, body in params.plain("train_rtfm.variants").items():
        features = paths.family(body["family"]).features / body["backbone"]
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
        summary = run(
            models(),
            list(map(Source, paths.CLIPS_TABLES, paths.EVENTS_TABLES)),
            params.section("evaluate_detection", EvaluateDetectionConfig),
            paths.EVALUATE_DETECTION,
        )
        log.headline(summary.headline())
        for name in ("tables.json", "events.json"):
            log.artifact(paths.EVALUATE_DETECTION / name)
        for name, x, y in (("roc", "fpr", "tpr"), ("pr", "recall", "precision")):
            figure = curve_figure(paths.EVALUATE_DETECTION / f"{name}.csv", x, y)
            log.figure(figure, f"{name}.png")
        log.figure(score_figure(summary.seconds), "scores.png")
        log.outputs(paths.EVALUATE_DETECTION)


if __name__ == "__main__":
    main()
