"""What people look at of stage ``evaluate_detection``: curves, histograms, confusion, worst cases.

Tables that DVC plots and that the tracking store shows as figures, all of the test part as
recorded, per second, for the main models. Decisions are at the threshold of the highest F1 on the
validation part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.audio.decode import read_clean
from crywatch.audio.segments import RATE_HZ
from crywatch.core.atomic import atomic_dir, write_text
from crywatch.data.selection import MADE, Source, sounds
from crywatch.data.tables import write_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.data.truth import silent_seconds
from crywatch.evaluation import evaluate_detection
from crywatch.evaluation.evaluate_detection import (
    CURVE_POINTS,
    MAIN_MODELS,
    EvaluateDetectionConfig,
    EvaluationSummary,
    scopes,
)
from crywatch.evaluation.evaluate_figures import WorstCase, save_png, worst_figure
from crywatch.evaluation.measured import (
    FILE,
    PART,
    POOLED,
    decided_intervals,
    measured,
    named_metrics,
    thresholds,
)
from crywatch.evaluation.scoring import ModelRef
from crywatch.metrics.curves import Curve, precision_recall, roc

FOLDER = "charts"  # below the stage's own
WORST = "worst"  # pictures, a model each
FLOATS = "%.9g"
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


@dataclass(frozen=True)
class Evaluated:
    """What the stage made."""

    summary: EvaluationSummary
    metrics: dict[str, float]  # with intervals, by their names in the tracking store


def run(
    models: list[ModelRef],
    sources: list[Source],
    config: EvaluateDetectionConfig,
    out_dir: Path,
) -> Evaluated:
    """`evaluate_detection.run` with the charts beside its files: all of it or nothing."""
    with atomic_dir(out_dir) as temp:
        # Below the one that is cleared after a kill, and so is what a kill leaves of it.
        scored = temp / "scored"
        summary = evaluate_detection.run(models, sources, config, scored)
        for made in sorted(scored.iterdir()):
            made.rename(temp / made.name)
        scored.rmdir()
        return Evaluated(summary, write(summary, sources, config.threshold, temp))


def write(
    summary: EvaluationSummary, sources: list[Source], threshold: float, out_dir: Path
) -> dict[str, float]:
    """Write table "measured" and the charts below ``out_dir``: CSV files and pictures.

    What comes back are the numbers with their intervals, by their names in the tracking store;
    ``threshold`` is that of the accuracies.
    """
    clips = sounds(source.clips for source in sources)
    seconds = measured(summary.seconds, clips)
    write_table(seconds, out_dir / FILE, MEASURED)
    models = [name for name in MAIN_MODELS if name in set(seconds["model"])]
    chosen = thresholds(seconds)
    pooled = {name: _pooled(seconds, name) for name in models}
    folder = out_dir / FOLDER
    paths = dict(zip(clips["clip_id"], clips["path"], strict=True))
    worst: list[WorstCase] = []
    for name, frame in pooled.items():
        found = list(_worst(name, frame, chosen.get(name), paths))
        if found:
            picture = folder / WORST / f"{name.replace('/', '_')}.png"
            save_png(worst_figure(name, found), picture)
        worst += found
    tables = {name: pd.DataFrame(_curves(name, pooled)) for name in ("roc", "pr", "det")}
    tables["histograms"] = pd.DataFrame(_histograms(pooled))
    tables["confusion"] = pd.DataFrame(_confusion(seconds, models, chosen))
    tables["worst"] = pd.DataFrame([case.as_dict() for case in worst])
    for name, columns in NAMES.items():
        frame = tables[name].reindex(columns=list(columns))
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, float_format=FLOATS))
    return named_metrics(summary.rows, models) | decided_intervals(seconds, models, threshold)


def _pooled(seconds: pd.DataFrame, model: str) -> pd.DataFrame:
    """Of the test part, canonical, nothing that was made."""
    mine = seconds[(seconds["model"] == model) & (seconds["split"] == PART)]
    return dict(scopes(mine))[POOLED]


def _curves(name: str, pooled: Mapping[str, pd.DataFrame]) -> Iterator[dict]:
    for model, frame in pooled.items():
        if frame["is_cry"].nunique() < 2:
            continue
        labels, scores = frame["is_cry"].to_numpy(), frame["score"].to_numpy()
        curve = (precision_recall if name == "pr" else roc)(labels, scores)
        if name == "det":
            curve = Curve(curve.x, 1 - curve.y, curve.thresholds)
        points = len(curve.x)
        kept = np.linspace(0, points - 1, min(points, CURVE_POINTS)).round().astype(int)
        _, x, y = NAMES[name]
        for row in np.unique(kept):
            yield {"model": model, x: curve.x[row], y: curve.y[row]}


def _histograms(pooled: Mapping[str, pd.DataFrame]) -> Iterator[dict]:
    edges = np.linspace(0, 1, BINS + 1)
    for model, frame in pooled.items():
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
    heard = seconds[(seconds["split"] == PART) & ~seconds["corpus"].isin(MADE)]
    for model in models:
        if model not in chosen:
            continue
        for corpus, mine in heard[heard["model"] == model].groupby("corpus", sort=True):
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
        seen: set[str] = set()
        for second in ordered.itertuples():
            if len(seen) == SHOWN:
                break
            if second.clip_id in seen:
                continue
            wave = read_clean(paths[second.clip_id])
            if silent_seconds(wave)[int(second.start_s)]:
                continue
            seen.add(second.clip_id)
            first_s = max(0.0, second.start_s - AROUND_S)
            last_s = second.start_s + 1 + AROUND_S
            cut = wave[round(first_s * RATE_HZ) : round(last_s * RATE_HZ)]
            wrong = threshold is not None and (second.score >= threshold) != (label == "cry")
            yield WorstCase(
                model=model,
                kind=kind,
                rank=len(seen),
                clip_id=second.clip_id,
                start_s=float(second.start_s),
                score=float(second.score),
                threshold=threshold,
                wrong=wrong,
                wave=cut,
                wave_start_s=first_s,
            )
