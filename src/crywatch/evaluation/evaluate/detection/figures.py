"""Figures of the charts of detection: curves, histograms, confusion, worst cases."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crywatch.core import det_axes
from crywatch.core.atomic import write_bytes
from crywatch.data.datasheet.figures import show_spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"cry": "#c2410c", "other": "#1d6f8a"}
DET_HIGHEST = 0.9
PNG_DPI = 80
NAME_LENGTH = 36  # characters of a clip's name over its picture; the table has all of them


@dataclass(frozen=True)
class WorstCase:
    """A second that a model got wrong, or came nearest to it, and the sound around it."""

    model: str
    kind: str  # miss, false alarm
    rank: int  # 1 is the worst
    clip_id: str
    start_s: float
    score: float
    threshold: float | None  # None: the validation part chose none
    wrong: bool  # by that threshold
    wave: np.ndarray  # float32 [samples] at 16 kHz
    wave_start_s: float  # in the clip

    def as_dict(self) -> dict:
        """All but the sound."""
        return {k: v for k, v in vars(self).items() if not k.startswith("wave")}


def det_figure(points: pd.DataFrame) -> Figure:
    """Misses against false alarms (model, false_alarm, miss) on normal deviates, a line a model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for model, frame in points.groupby("model", sort=False):
        det_axes.draw(axes, frame["false_alarm"], frame["miss"], label=model)
    finish_det(axes)
    if points["model"].nunique():
        axes.legend(fontsize=8)
    return figure


def finish_det(axes: Axes) -> None:
    """The axes of a DET plot of seconds."""
    det_axes.finish(axes, DET_HIGHEST, "other seconds", "crying seconds")


def histogram_figure(histograms: pd.DataFrame) -> Figure:
    """Shares of cries and others by score (histograms.csv), a panel a model."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(histograms["model"]))
    figure = Figure(figsize=(3.1 * max(1, len(models)), 2.8), layout="constrained")
    for number, model in enumerate(models, 1):
        axes = figure.add_subplot(1, len(models), number)
        frame = histograms[histograms["model"] == model]
        for label, mine in frame.groupby("label", sort=True):
            edges = [*mine["low"], mine["high"].iloc[-1]]
            style = {"color": COLOURS[label], "label": label, "alpha": 0.6, "fill": True}
            axes.stairs(mine["share"], edges, **style)
        axes.set(xlabel="score of a second", ylim=(0, None))
        axes.set_title(model, fontsize=9)
        if number == 1:
            axes.set_ylabel("share of the label's seconds")
            axes.legend(fontsize=8)
    return figure


def confusion_figure(confusion: pd.DataFrame) -> Figure:
    """Seconds by label and decision (confusion.csv): a row of panels a model, one a corpus."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(confusion["model"]))
    corpora = sorted(set(confusion["corpus"]))
    size = (1.0 + 1.9 * max(1, len(corpora)), 0.4 + 1.7 * max(1, len(models)))
    figure = Figure(figsize=size, layout="constrained")
    labels = ["cry", "other"]
    for row, model in enumerate(models):
        for column, corpus in enumerate(corpora):
            axes = figure.add_subplot(len(models), len(corpora), row * len(corpora) + column + 1)
            mine = confusion[(confusion["model"] == model) & (confusion["corpus"] == corpus)]
            cells = mine.set_index(["label", "called"])
            axes.imshow(
                [[cells["share"].get((a, b), 0.0) for b in labels] for a in labels],
                cmap="Blues",
                vmin=0,
                vmax=1,
            )
            for y, label in enumerate(labels):
                for x, called in enumerate(labels):
                    share = cells["share"].get((label, called), 0.0)
                    shade = "white" if share > 0.5 else "black"
                    count = cells["seconds"].get((label, called), 0)
                    axes.text(x, y, f"{count}", ha="center", va="center", color=shade, fontsize=8)
            axes.set_xticks(range(2), labels, fontsize=7)
            axes.set_yticks(range(2), labels if column == 0 else ["", ""], fontsize=7)
            if row == 0:
                axes.set_title(corpus, fontsize=8)
            if row == len(models) - 1:
                axes.set_xlabel("called", fontsize=7)
            if column == 0:
                axes.set_ylabel(f"{model}\nis", fontsize=7)
    return figure


def worst_figure(model: str, cases: Sequence[WorstCase]) -> Figure:
    """Spectrograms, 0 to 8 kHz in dB below their peak; the second in question between two lines."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(case.kind for case in cases))
    across = max(case.rank for case in cases)
    figure = Figure(figsize=(3.1 * across, 2.5 * len(kinds) + 0.4), layout="constrained")
    for case in cases:
        place = kinds.index(case.kind) * across + case.rank
        axes = figure.add_subplot(len(kinds), across, place)
        end_s = show_spectrum(axes, case.wave, case.wave_start_s)
        for edge_s in (case.start_s, case.start_s + 1):
            axes.axvline(edge_s, color="white", linewidth=0.9, linestyle="--")
        axes.set_xlim(case.wave_start_s, end_s)
        title = case.kind if case.wrong else f"no {case.kind}"
        axes.set_title(f"{_short(case.clip_id)}\n{title}, score {case.score:.3f}", fontsize=7)
        axes.set_xlabel("s", fontsize=7, labelpad=1)
        axes.set_ylabel("kHz", fontsize=7)
        axes.tick_params(labelsize=6.5)
    figure.suptitle(f"{model}: worst misses and false alarms, test part", fontsize=9)
    return figure


def _short(clip_id: str) -> str:
    if len(clip_id) <= NAME_LENGTH:
        return clip_id
    return f"{clip_id[: NAME_LENGTH // 2]}...{clip_id[-NAME_LENGTH // 2 :]}"


def save_png(figure: Figure, path: Path) -> None:
    """Write ``figure``; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # Without the library's version the same picture gives the same bytes.
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
