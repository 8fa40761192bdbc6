"""The gate's training in two pictures: ROC curves of its heads, and what they say of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from crywatch.infants.gate import CRY, DISTRESS, HEADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROC, SCORES = "roc.svg", "scores.svg"
TITLES = {CRY: "a cry, not another sound", DISTRESS: "distress, not calm"}
CLASSES = {CRY: ("other sounds", "cries"), DISTRESS: ("calm", "distress")}
COLOURS = ("#30638e", "#d1495b")  # of the negative and the positive class
BINS = np.linspace(0, 1, 26).tolist()


def roc_figure(scores: pd.DataFrame) -> Figure:
    """ROC of each head on each part, a dot at its threshold; ``scores`` are of `gate_heads`."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, panels = _panels("ROC")
    for axes, (head, of_head) in zip(panels, _by_head(scores), strict=True):
        for part, rows in of_head.groupby("part", sort=False):
            positive = rows["positive"].to_numpy(dtype=bool)
            if positive.all() or not positive.any():
                continue
            false, true, _ = roc_curve(positive, rows["probability"])
            auc = roc_auc_score(positive, rows["probability"])
            (line,) = axes.plot(false, true, linewidth=1.4, label=f"{part}: AUC {auc:.3f}")
            over = (rows["probability"] >= rows["threshold"]).to_numpy()
            at = over[~positive].mean(), over[positive].mean()
            axes.plot(at[0], at[1], "o", color=line.get_color(), markersize=5)
        negative, name = CLASSES[head]
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel=f"share of {negative} called {name}", ylabel=f"share of {name}")
        _legend(axes, len(of_head), "lower right")
    return figure


def score_figure(scores: pd.DataFrame, part: str = "test") -> Figure:
    """What each head says of both classes of ``part``, and its threshold."""
    figure, panels = _panels(f"Scores, {part} part")
    for axes, (head, of_head) in zip(panels, _by_head(scores), strict=True):
        rows = of_head[of_head["part"] == part]
        for positive, name, colour in zip((False, True), CLASSES[head], COLOURS, strict=True):
            values = rows.loc[rows["positive"] == positive, "probability"]
            if len(values):
                weights = np.full(len(values), 1 / len(values))
                label = f"{name}, {len(values)}"
                axes.hist(values, BINS, weights=weights, alpha=0.6, color=colour, label=label)
        if len(rows):
            threshold = float(rows["threshold"].iloc[0])
            label = f"threshold {threshold:.2f}"
            axes.axvline(threshold, color="0.2", linewidth=1, linestyle="--", label=label)
        axes.set(xlim=(0, 1), xlabel=f"P({head})", ylabel="share of the class's recordings")
        _legend(axes, len(rows), "upper center")
    return figure


def _panels(title: str) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    panels = list(figure.subplots(1, len(HEADS)))
    for axes, head in zip(panels, HEADS, strict=True):
        axes.set_title(f"{title}: {TITLES[head]}", fontsize=10)
        axes.grid(alpha=0.3)
    return figure, panels


def _by_head(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(head, scores[scores["head"] == head]) for head in HEADS]


def _legend(axes: Axes, n_rows: int, place: Literal["lower right", "upper center"]) -> None:
    if n_rows:
        axes.legend(fontsize=8, loc=place)
    else:
        axes.text(0.5, 0.5, "no recordings of both classes", ha="center", transform=axes.transAxes)
