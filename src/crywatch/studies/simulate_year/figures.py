"""Figures of the year: alarms week by week, each way of updating a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crywatch.core.atomic import read_json
from crywatch.data.tables import read_table
from crywatch.data.tables.infants import YEAR
from crywatch.studies.simulate_year.measures import ATTACK, CHANGE, SLOW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"gated": "#1b6ca8", "ungated": "#c4542b", "frozen": "#6b6b6b", "trimming": "#8a5fb0"}
NAMES = {
    "gated": "with the gate",
    "ungated": "without it",
    "frozen": "first model",
    "trimming": "gate that trims",
}
_WEEK_DAYS = 7.0


def year_figure(folder: Path) -> Figure:
    """From year.parquet and metrics.json in ``folder``; mean over infants."""
    from matplotlib.figure import Figure

    frame = read_table(folder / "year.parquet", YEAR)
    rate = read_json(folder / "metrics.json")["rate"]
    figure = Figure(figsize=(10.5, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    axes = top.add_subplot()
    _lines(axes, frame[frame["scenario"] == SLOW], rate, weeks=4)
    axes.set(title="Slow development: share of recordings that alarm, four weeks at a time")
    axes.legend(fontsize=8, ncols=5)
    kinds = [(CHANGE, kind) for kind in _kinds(frame, CHANGE)] + [
        (ATTACK, kind) for kind in _kinds(frame, ATTACK)
    ]
    for number, (scenario, kind) in enumerate(kinds, 1):
        axes = bottom.add_subplot(1, len(kinds), number)
        rows = frame[(frame["scenario"] == scenario) & (frame["kind"] == kind)]
        _lines(axes, rows[~rows["hostile"]], rate, weeks=2)
        name = kind if scenario == CHANGE else f"hostile: {kind}"
        axes.set_title(name, fontsize=8)
        if number > 1:
            axes.set(ylabel="", yticklabels=[])
    return figure


def _kinds(frame: pd.DataFrame, scenario: str) -> list[str]:
    return list(dict.fromkeys(frame.loc[frame["scenario"] == scenario, "kind"]))


def _lines(axes: Axes, frame: pd.DataFrame, rate: float, weeks: int) -> None:
    for way, rows in frame.groupby("way", sort=False):
        step = np.floor(rows["day"] / (_WEEK_DAYS * weeks)) * weeks
        share = rows.groupby([step, "infant"])["alarm"].mean().groupby(level=0).mean()
        axes.plot(share.index, share, color=COLOURS.get(way), label=NAMES.get(way, way), lw=1.4)
    axes.axhline(rate, color="black", lw=0.8, ls=":", label=f"promised, {rate:g}")
    axes.set(ylim=(-0.02, 1.02), xlabel="week", ylabel="alarms")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
