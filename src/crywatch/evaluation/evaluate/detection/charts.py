"""What people look at of detection: curves, histograms, confusion, worst cases.

Tables that DVC plots and that the tracking store shows as figures, all of the test part as
recorded, per second, for the main models. Decisions are at the threshold of the highest F1 on the
validation part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import read_clean
from crywatch.core.atomic import write_text
from crywatch.data.selection import MADE
from crywatch.data.tables import write_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.data.truth import silent_seconds
from crywatch.evaluation.evaluate.detection.figures import WorstCase, save_png, worst_figure
from crywatch.evaluation.evaluate.detection.measures import CURVE_MODELS, MAIN_MODELS, DetectionRow
from crywatch.evaluation.evaluate.detection.seconds import (
    FILE,
    PART,
    decided_intervals,
    named_metrics,
    thresholds,
)
from crywatch.evaluation.scopes import known, pooled
from crywatch.metrics.curves import precision_recall, roc

FOLDER = "charts"  # below the stage's own
WORST = "worst"  # pictures, a model each
FLOATS = "%.9g"
CURVES = ("roc", "pr", "det")
CURVE_POINTS = 200  # of a curve, at most
BINS = 40
SHOWN = 4  # worst misses and false alarms of a model
AROUND_S = 2.0  # before and after the second in question
KINDS = {"cry": "miss", "other": "false alarm"}
NAMES = {
    "roc": ("model", "fpr", "tpr"),
    "pr": ("model", "recall", "precision"),
    "det": ("model", "false_alarm", "miss"),
    "histograms": ("model", "label", "low", "high", "seconds", "share"),
    "confusion": ("model", "corpus", "label", "called", "seconds", "share", "threshold"),
    "worst": ("model", "kind", "rank", "clip_id", "start_s", "score", "threshold", "wrong"),
}


def write(
    rows: Sequence[DetectionRow],
    measured: pd.DataFrame,
    paths: Mapping[str, str],
    threshold: float,
    out_dir: Path,
) -> dict[str, float]:
    """Write below ``out_dir`` table ``measured``, roc.csv and pr.csv, and the folder of charts.

    ``paths`` are those of the sounds, by clip_id. What comes back are the numbers with their
    intervals, by their names in the tracking store; ``threshold`` is that of the accuracies.
    """
    write_table(measured, out_dir / FILE, MEASURED)
    models = [name for name in MAIN_MODELS if name in set(measured["model"])]
    chosen = thresholds(measured)
    test = measured[measured["split"] == PART]
    by_model = {name: pooled(test[test["model"] == name]) for name in models}
    folder = out_dir / FOLDER
    worst: list[WorstCase] = []
    for name, frame in by_model.items():
        cases = list(_worst(name, frame, chosen.get(name), paths))
        if cases:
            picture = folder / WORST / f"{name.replace('/', '_')}.png"
            save_png(worst_figure(name, cases), picture)
        worst += cases
    tables = {name: pd.DataFrame(_curves(name, by_model)) for name in CURVES}
    tables["histograms"] = pd.DataFrame(_histograms(by_model))
    tables["confusion"] = pd.DataFrame(_confusion(measured, models, chosen))
    tables["worst"] = pd.DataFrame([case.as_dict() for case in worst])
    for name, columns in NAMES.items():
        table = tables[name].reindex(columns=list(columns))
        write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format=FLOATS))
        if name in ("roc", "pr"):  # those of the report, with all digits
            table = table[table["model"].isin(CURVE_MODELS)]
            write_text(out_dir / f"{name}.csv", table.to_csv(index=False))
    return named_metrics(rows, models) | decided_intervals(measured, models, threshold)


def _curves(name: str, by_model: Mapping[str, pd.DataFrame]) -> Iterator[dict]:
    for model, frame in by_model.items():
        if frame["is_cry"].nunique() < 2:
            continue
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        curve = (precision_recall if name == "pr" else roc)(labels, scores)
        y = 1 - curve.y if name == "det" else curve.y
        points = len(curve.x)
        rows = np.linspace(0, points - 1, min(points, CURVE_POINTS)).round().astype(int)
        _, x_name, y_name = NAMES[name]
        for row in np.unique(rows):
            yield {"model": model, x_name: curve.x[row], y_name: y[row]}


def _histograms(by_model: Mapping[str, pd.DataFrame]) -> Iterator[dict]:
    edges = np.linspace(0, 1, BINS + 1)
    for model, frame in by_model.items():
        for is_cry, label in ((True, "cry"), (False, "other")):
            scores = frame.loc[frame["is_cry"] == is_cry, "score"]
            counts, _ = np.histogram(scores, edges)
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
                head = {"model": model, "label": label, "low": low, "high": high}
                yield head | {"seconds": int(count), "share": count / max(1, len(scores))}


def _confusion(
    seconds: pd.DataFrame, models: list[str], chosen: Mapping[str, float]
) -> Iterator[dict]:
    """Each corpus by itself, its duplicates of other corpora included."""
    test = known(seconds[(seconds["split"] == PART) & ~seconds["corpus"].isin(MADE)])
    for model in models:
        if model not in chosen:
            continue
        for corpus, mine in test[test["model"] == model].groupby("corpus", sort=True):
            for is_cry, label in ((True, "cry"), (False, "other")):
                called = mine.loc[mine["is_cry"] == is_cry, "score"] >= chosen[model]
                for decision, name in ((True, "cry"), (False, "other")):
                    count = int((called == decision).sum())
                    yield {
                        "model": model,
                        "corpus": corpus,
                        "label": label,
                        "called": name,
                        "seconds": count,
                        "share": count / max(1, len(called)),
                        "threshold": chosen[model],
                    }


def _worst(
    model: str, frame: pd.DataFrame, threshold: float | None, paths: Mapping[str, str]
) -> Iterator[WorstCase]:
    """The cries of the lowest and the other sounds of the highest scores, a second of a clip each.

    Silent seconds are passed over: nothing is to be seen in them. Those on the right side of the
    threshold fill the places where there are fewer errors, and say so.
    """
    for label, kind in KINDS.items():
        mine = frame[frame["is_cry"] == (label == "cry")]
        ordered = mine.sort_values(
            ["score", "clip_id", "start_s"], ascending=[label == "cry", True, True]
        )
        shown: set[str] = set()
        for second in ordered.itertuples():
            if len(shown) == SHOWN:
                break
            if second.clip_id in shown:
                continue
            wave = read_clean(paths[second.clip_id])
            if silent_seconds(wave)[int(second.start_s)]:
                continue
            shown.add(second.clip_id)
            first_s = max(0.0, second.start_s - AROUND_S)
            last_s = second.start_s + 1 + AROUND_S
            cut = wave[round(first_s * RATE_HZ) : round(last_s * RATE_HZ)]
            wrong = threshold is not None and (second.score >= threshold) != (label == "cry")
            yield WorstCase(
                model=model,
                kind=kind,
                rank=len(shown),
                clip_id=second.clip_id,
                start_s=float(second.start_s),
                score=float(second.score),
                threshold=threshold,
                wrong=wrong,
                wave=cut,
                wave_start_s=first_s,
            )
