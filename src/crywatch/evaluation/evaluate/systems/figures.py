"""The figure of the comparison: a bar a system, with its interval, for each main measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crywatch.evaluation.evaluate.systems.measures import ComparedRow
from crywatch.evaluation.scopes import POOLED, SECOND
from crywatch.evaluation.scored import AS_RECORDED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR, PEER_COLOUR = "#1b6ca8", "#c4542b"
COLUMNS = 4  # panels beside each other
SHOWN = {"auc": "AUC", "average_precision": "average precision"}


def comparison_figure(rows: Sequence[ComparedRow], matched: Sequence[str], peer: str) -> Figure:
    """Per second: within each corpus as recorded, pooled through each matched channel."""
    from matplotlib.figure import Figure

    panels = [
        (f"{scope}, as recorded", scope, AS_RECORDED, "average_precision")
        for scope in dict.fromkeys(row.scope for row in rows if row.channel == AS_RECORDED)
        if scope != POOLED
    ]
    panels += [(f"pooled, {channel}", POOLED, channel, "auc") for channel in matched]
    names = list(dict.fromkeys(row.row for row in rows))
    columns = min(COLUMNS, max(1, len(panels)))
    lines = math.ceil(len(panels) / columns) or 1
    size = (2.4 + 2.4 * columns, lines * (1.2 + 0.28 * len(names)))
    figure = Figure(figsize=size, layout="constrained")
    for number, (title, scope, channel, metric) in enumerate(panels):
        axes = figure.add_subplot(lines, columns, number + 1)
        by_name = {
            row.row: row
            for row in rows
            if (row.scope, row.channel, row.unit) == (scope, channel, SECOND)
        }
        _bars(axes, [by_name.get(name) for name in names], metric, peer)
        axes.set_yticks(
            range(len(names)), [""] * len(names) if number % columns else names, fontsize=8
        )
        axes.set_title("\n".join(title.split(", ")), fontsize=8)
        axes.set_xlabel(SHOWN[metric], fontsize=8)
    return figure


def _bars(axes: Axes, rows: Sequence[ComparedRow | None], metric: str, peer: str) -> None:
    for place, row in enumerate(rows):
        if row is None or (estimate := row.metrics[metric]).mean is None:
            continue
        colour = PEER_COLOUR if row.row == peer else COLOUR
        axes.barh(place, estimate.mean, height=0.6, color=colour)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="black", lw=1)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", alpha=0.3)
