"""Some timelines side by side, for the tracking store and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.figures import (
    BAND,
    FURTHEST,
    MARKED,
    NEAREST,
    OLD,
    REMARK,
    USUAL,
    lowest_normal,
)
from crywatch.infants.timeline.standard import BASELINE
from crywatch.infants.timeline.summary import STATUSES, InfantSummary, by_urgency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8  # infants
COLUMNS = 2


def timelines_figure(
    timelines: Sequence[InfantTimeline], summaries: Sequence[InfantSummary]
) -> Figure:
    """The infants that were most unusual lately, each with its distance, band and episodes."""
    from matplotlib.figure import Figure

    order = by_urgency(summaries)[:MOST]
    rows = max(1, -(-len(order) // COLUMNS))
    figure = Figure(figsize=(11, 2.3 * rows + 0.5), layout="constrained")
    for number, at in enumerate(order):
        _draw(figure.add_subplot(rows, COLUMNS, number + 1), timelines[at], summaries[at])
    figure.supxlabel(
        "time, UTC; shaded: normal range to the limit (1); lines: lasting changes; bars on top: "
        "remarks",
        fontsize=8,
    )
    return figure


def _draw(axes: Axes, timeline: InfantTimeline, summary: InfantSummary) -> None:
    from matplotlib.dates import AutoDateLocator

    rows = timeline.recordings
    height = rows["distance"].clip(NEAREST, FURTHEST)
    old, marked = rows["phase"] == BASELINE, rows["alarm"]
    axes.axhspan(min(0.0, lowest_normal(timeline.bands.iloc[-1])), 1, color=BAND, linewidth=0)
    for chosen, marker, face, edge in (
        (old, "o", "none", OLD),
        (~old & ~marked, "o", USUAL, USUAL),
        (~old & marked, "D", MARKED, MARKED),
    ):
        axes.scatter(
            rows["recorded_at"][chosen],
            height[chosen],
            s=14,
            linewidths=0.8,
            marker=marker,
            facecolors=face,
            edgecolors=edge,
        )
    for episode in summary.episodes:
        if episode.lasting:
            axes.plot([episode.begin, episode.end], [FURTHEST * 0.9] * 2, color=MARKED, linewidth=2)
    for remark in summary.remarks:
        axes.plot([remark.begin, remark.end], [FURTHEST] * 2, color=REMARK, linewidth=4)
    axes.set_ylim(NEAREST, FURTHEST * 1.06)
    # A dollar sign would begin a formula.
    name = timeline.infant_id.replace("$", r"\$")
    axes.set_title(f"{name}: {STATUSES[summary.status].lower()}", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(AutoDateLocator(maxticks=6))
    axes.spines[["top", "right"]].set_visible(False)
