"""Figures of the report and of the tracking store."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {
    "blazenet/all_1s": "BlazeNet, all seconds",
    "rtfm/trimmed": "BlazeNet + anomaly, 5 s clips",
    "rtfm/untrimmed": "BlazeNet + anomaly, untrimmed",
}
AXES = {
    "fpr": "false positive rate",
    "tpr": "true positive rate",
    "recall": "recall",
    "precision": "precision",
}


def _figure(width: float = 5.2, height: float = 4.2):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def curve_figure(path: Path, x: str, y: str) -> Figure:
    """ROC or precision-recall curves of ``roc.csv`` or ``pr.csv``, a line a model."""
    figure, axes = _figure()
    for model, frame in pd.read_csv(path).groupby("model", sort=True):
        axes.plot(frame[x], frame[y], label=NAMES.get(model, model))
    axes.set(xlabel=AXES[x], ylabel=AXES[y], xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)
    return figure


def score_figure(seconds: pd.DataFrame) -> Figure:
    """Histograms of the scores of cries and others for the models of Table 6."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.0), layout="constrained")
    bins = np.linspace(0, 1, 41).tolist()
    for index, (model, name) in enumerate(NAMES.items()):
        axes = figure.add_subplot(1, len(NAMES), index + 1)
        frame = seconds[seconds["model"] == model]
        for is_cry, label in ((True, "cry"), (False, "other")):
            axes.hist(frame.loc[frame["is_cry"] == is_cry, "score"], bins, alpha=0.6, label=label)
        axes.set(title=name, xlabel="score of a second")
        if len(frame):
            axes.set_yscale("log")
        axes.title.set_fontsize(9)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle("Seconds of the validation and test parts, trimmed and untrimmed", fontsize=9)
    return figure


def reliability_figure(models: list[dict]) -> Figure:
    """What was said against what was true of the test part's seconds, before and after, a panel a
    model; ``models`` are the tables.json of stage ``calibrate``, at least one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(models) + 0.4, 3.4), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, told in zip(panels, models, strict=True):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
        for when, style in (("before", "o--"), ("after", "s-")):
            bins = [b for b in told["reliability"] if (b["part"], b["when"]) == ("test", when)]
            said, true = ([b[name] for b in bins] for name in ("probability", "share"))
            axes.plot(said, true, style, markersize=4, label=f"{when} calibration")
        axes.set(title=told["model"], xlabel="probability that was said")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.title.set_fontsize(9)
    panels[0].set_ylabel("share of seconds that are cries")
    panels[0].legend(fontsize=8)
    return figure


def save_svg(figure: Figure, sink: Path | BinaryIO) -> None:
    """Write ``figure``; the same figure gives the same bytes."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "crywatch"}):
        figure.savefig(sink, format="svg", metadata={"Date": None})


def inline_svg(figure: Figure) -> str:
    """A data URI that a page can hold; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    save_svg(figure, buffer)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
