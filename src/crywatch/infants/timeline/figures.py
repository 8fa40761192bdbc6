"""The figures of one infant: its recordings over the calendar, and its sessions one by one.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; every kind of mark
has a shape of its own too. Text of users is escaped, for Plotly reads tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.standard import BASELINE
from crywatch.infants.timeline.summary import InfantSummary

if TYPE_CHECKING:
    import plotly.graph_objects as go

USUAL, MARKED, OLD, KEPT_OUT = "#0072B2", "#D55E00", "#7a828c", "#1c2530"
BAND, GAP, REMARK, LEVEL = "#d7ecdf", "#eceef1", "#E69F00", "#009E73"
FURTHEST = 6.0  # distance that is drawn; what is beyond is drawn there
NEAREST = -3.0
LONGEST_LABEL = 22  # characters
LABEL_SHARE = 0.02  # of a narrow screen's picture that a character of a label takes
_TIME, _NUMBER = "%d %b %Y, %H:%M", ".2f"


def time_figure(timeline: InfantTimeline, summary: InfantSummary, gap_days: float) -> go.Figure:
    """Distance of each recording from the infant's own normal, and the smoothed line below it."""
    figure = _two_plots([0.62, 0.38], 0.07)
    rows = timeline.recordings
    height = rows["distance"].clip(NEAREST, FURTHEST)
    hover = [_recording_text(row) for row in rows.itertuples()]
    baseline = (rows["phase"] == BASELINE).to_numpy()
    marked = rows["alarm"].to_numpy()
    kinds: tuple[tuple[str, np.ndarray, dict[str, Any]], ...] = (
        ("baseline", baseline, {"symbol": "circle-open", "size": 8, "color": OLD}),
        ("as usual", ~baseline & ~marked, {"symbol": "circle", "size": 8, "color": USUAL}),
        ("marked", ~baseline & marked, {"symbol": "diamond", "size": 11, "color": MARKED}),
        (
            "kept out of the baseline",
            ~rows["accepted"].to_numpy(),
            {"symbol": "x-thin-open", "size": 14, "color": KEPT_OUT, "line": {"width": 1.6}},
        ),
    )
    for name, chosen, marker in kinds:
        if chosen.any():
            numbers = np.flatnonzero(chosen).tolist()
            figure.add_scatter(
                x=_times(rows["recorded_at"][chosen]),
                y=_values(height[chosen]),
                customdata=numbers,
                hovertext=[hover[number] for number in numbers],
                hoverinfo="text",
                mode="markers",
                name=name,
                marker=marker,
                row=1,
                col=1,
            )
    _add_smoothed(figure, rows, gap_days)
    _add_bands(figure, timeline)
    _add_gaps(figure, rows, gap_days)
    _add_remarks(figure, timeline, summary)
    figure.update_yaxes(title_text="distance", zeroline=False, row=1, col=1)
    figure.update_yaxes(title_text="smoothed", zeroline=True, zerolinecolor=GAP, row=2, col=1)
    figure.update_xaxes(title_text="time, UTC", row=2, col=1)
    return _styled(figure, 460)


def session_figure(timeline: InfantTimeline, summary: InfantSummary) -> go.Figure:
    """The level of each session with its change points, and the evidence of a lasting change."""
    figure = _two_plots([0.5, 0.5], 0.09)
    rows = timeline.sessions
    hover = [_session_text(row) for row in rows.itertuples()]
    x = (rows["session"] + 1).tolist()
    old = rows["phase"] == BASELINE
    figure.add_scatter(
        x=x,
        y=_values(rows["z"]),
        hovertext=hover,
        hoverinfo="text",
        mode="markers",
        name="session",
        marker={
            "size": 8,
            "color": np.where(old, OLD, USUAL).tolist(),
            "symbol": np.where(old, "circle-open", "circle").tolist(),
        },
        row=1,
        col=1,
    )
    _add_levels(figure, rows, summary)
    over = rows["cusum"] > rows["cusum_limit"]
    figure.add_bar(
        x=x,
        y=_values(rows["cusum"]),
        hovertext=hover,
        hoverinfo="text",
        name="evidence",
        marker={"color": np.where(over, MARKED, USUAL).tolist()},
        row=2,
        col=1,
    )
    figure.add_scatter(
        x=x,
        y=_values(rows["cusum_limit"]),
        mode="lines",
        name="limit",
        hoverinfo="skip",
        line={"color": MARKED, "dash": "dash", "shape": "hvh", "width": 1.5},
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="level", zerolinecolor=GAP, row=1, col=1)
    figure.update_yaxes(title_text="evidence", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(zeroline=False, range=[0.2, len(rows) + 0.8])
    figure.update_xaxes(title_text="session", row=2, col=1)
    return _styled(figure, 380)


def lowest_normal(band: Any) -> float:
    """The distance at which an infant's normal range begins, by a row of table ``bands``."""
    spread = band.high - band.centre
    return max(NEAREST, (band.low - band.centre) / spread) if spread > 0 else 0.0


def _two_plots(heights: Sequence[float], spacing: float) -> go.Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=spacing
    )
    return figure.update_layout(template="none")


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_xaxes(showline=True, linecolor=GAP, gridcolor="#f3f4f6", automargin=True)
    figure.update_yaxes(gridcolor="#f3f4f6", fixedrange=True)
    return figure.update_layout(
        height=height,
        margin={"l": 48, "r": 12, "t": 22, "b": 44},
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#1c2530"},
        showlegend=False,
        hovermode="closest",
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": "#1c2530"}},
        dragmode="zoom",
    )


def _add_box(figure: go.Figure, x: Sequence, y: Sequence[float], axis: str = "", **style) -> None:
    """A rectangle over times ``x``; ``y`` is a share of the plot's height without ``yref``."""
    style = {"yref": f"y{axis} domain", "line": {"width": 0}, "layer": "below"} | style
    x0, x1 = map(_time, x)
    figure.add_shape(type="rect", xref=f"x{axis}", x0=x0, x1=x1, y0=y[0], y1=y[1], **style)


def _add_upright(figure: go.Figure, x: str | float, top: float, **line) -> None:
    """An upright line from the bottom of the upper plot to ``top``, a share of its height."""
    figure.add_shape(type="line", xref="x", yref="y domain", x0=x, x1=x, y0=0, y1=top, line=line)


def _add_smoothed(figure: go.Figure, rows: pd.DataFrame, gap_days: float) -> None:
    after_gap = np.flatnonzero(rows["gap_days"] > gap_days)
    times = np.array(_times(rows["recorded_at"]), dtype=object)
    for column, name, style in (
        ("ewma_limit", "limit", {"color": MARKED, "dash": "dash", "width": 1.5}),
        ("ewma", "smoothed", {"color": USUAL, "width": 2}),
    ):
        values = np.array(_values(rows[column]), dtype=object)
        no_value = np.full(len(after_gap), None)
        figure.add_scatter(
            x=np.insert(times, after_gap, times[after_gap]).tolist(),
            # A value that is not there, between the two sides of a gap, breaks the line.
            y=np.insert(values, after_gap, no_value).tolist(),
            mode="lines",
            name=name,
            line=style,
            connectgaps=False,
            hovertemplate=f"{name} %{{y:{_NUMBER}}}<extra></extra>",
            row=2,
            col=1,
        )


def _add_bands(figure: go.Figure, timeline: InfantTimeline) -> None:
    """What is normal, by version: the first one's is that of the baseline too."""
    rows, bands = timeline.recordings, timeline.bands
    first, last = rows["recorded_at"].iloc[0], rows["recorded_at"].iloc[-1]
    pad = max(pd.Timedelta(hours=12), (last - first) * 0.02)
    edges = pairwise([first - pad, *bands["since"].iloc[1:], last + pad])
    for number, (band, stretch) in enumerate(zip(bands.itertuples(), edges, strict=True)):
        if np.isnan(band.high - band.centre):  # nothing was calibrated: no range is known
            continue
        _add_box(figure, stretch, (lowest_normal(band), 1), yref="y", fillcolor=BAND)
        if number:
            _add_upright(figure, _time(stretch[0]), 0.06, color=OLD, width=1)
    figure.update_xaxes(range=[_time(first - pad), _time(last + pad)])
    figure.add_shape(
        type="line",
        xref="x domain",
        yref="y",
        x0=0,
        x1=1,
        y0=1,
        y1=1,
        line={"color": MARKED, "dash": "dash", "width": 1.5},
    )


def _add_gaps(figure: go.Figure, rows: pd.DataFrame, gap_days: float) -> None:
    for row in np.flatnonzero(rows["gap_days"] > gap_days):
        begin, end = rows["recorded_at"].iloc[row - 1], rows["recorded_at"].iloc[row]
        for axis in ("", "2"):
            _add_box(figure, (begin, end), (0, 1), axis, fillcolor=GAP)
        figure.add_annotation(
            x=_time(begin + (end - begin) / 2),
            y=0.14,
            xref="x",
            yref="y domain",
            text=f"no recordings<br>{rows['gap_days'].iloc[row]:.0f} days",
            showarrow=False,
            font={"size": 11, "color": "#55606e"},
        )


def _add_remarks(figure: go.Figure, timeline: InfantTimeline, summary: InfantSummary) -> None:
    rows = timeline.recordings
    begin, end = rows["recorded_at"].iloc[0], rows["recorded_at"].iloc[-1]
    free = 1.0  # share of the width to the left of the labels so far
    for stretch in reversed(summary.remarks):
        _add_box(
            figure,
            (stretch.begin, stretch.end),
            (1.0, 1.035),
            fillcolor=REMARK,
            line={"color": REMARK, "width": 2},
            layer=None,
        )
        short = stretch.remark
        if len(short) > LONGEST_LABEL:
            short = short[: LONGEST_LABEL - 1] + "…"
        # At the sides of the picture the label goes inwards, so that a narrow screen holds it.
        first, last = (
            (at - begin) / (end - begin) if end > begin else 0.0
            for at in (stretch.begin, stretch.end)
        )
        anchor, at = ("right", stretch.end) if first > 0.5 else ("left", stretch.begin)
        width = LABEL_SHARE * (len(short) + 1)
        left = last - width if first > 0.5 else first
        if left + width > free + 1e-9 and free < 1:
            continue  # it would cover the one after it; the list on the page has all
        free = left
        figure.add_annotation(
            x=_time(at),
            y=1.04,
            xref="x",
            yref="y domain",
            xanchor=anchor,
            yanchor="bottom",
            text=escape(short),
            hovertext=escape(stretch.remark),
            showarrow=False,
            font={"size": 11},
        )


def _add_levels(figure: go.Figure, rows: pd.DataFrame, summary: InfantSummary) -> None:
    """A line at the mean of each level, where change points were looked for."""
    if summary.changes.reason:
        return
    scored = rows[rows["z"].notna()].tail(summary.changes.sessions)
    cuts = [point.session for point in summary.changes.points]
    x: list[float | None] = []
    y: list[float | None] = []
    number, level = scored["session"].to_numpy(), scored["z"].to_numpy()
    ends = np.searchsorted(number, cuts)
    for part, values in zip(np.split(number, ends), np.split(level, ends), strict=True):
        x += [int(part[0]) + 0.6, int(part[-1]) + 1.4, None]
        y += [round(float(values.mean()), 4)] * 2 + [None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name="level",
        hoverinfo="skip",
        line={"color": LEVEL, "width": 3},
        row=1,
        col=1,
    )
    for cut in cuts:
        _add_upright(figure, cut + 0.5, 1, color=LEVEL, dash="dot", width=1.5)


def _recording_text(row: Any) -> str:
    lines = [f"<b>{row.recorded_at.strftime(_TIME)} UTC</b>"]
    if row.phase == BASELINE:
        lines.append("part of the baseline")
    elif row.alarm:
        lines.append("marked as unusual")
    if np.isfinite(row.distance):
        beyond = ", beyond the picture" if row.distance > FURTHEST else ""
        lines.append(f"distance {row.distance:{_NUMBER}} (limit 1){beyond}")
    if np.isfinite(row.p):
        lines.append(f"p {row.p:.3g}")
    if not row.accepted:
        lines.append(f"kept out of the baseline: {escape(row.reason or 'no reason given')}")
    if row.remark:
        lines.append(f"remark: {escape(row.remark)}")
    return "<br>".join(lines)


def _session_text(row: Any) -> str:
    marked = "" if row.phase == BASELINE else f", {row.marked} marked"
    lines = [
        f"<b>session {row.session + 1}: {row.begin.strftime(_TIME)} UTC</b>",
        f"{row.recordings} recording{'s' * (row.recordings != 1)}{marked}",
    ]
    if np.isfinite(row.z):
        lines.append(f"level {row.z:{_NUMBER}}")
    if np.isfinite(row.cusum):
        lines.append(f"evidence {row.cusum:{_NUMBER}} (limit {row.cusum_limit:{_NUMBER}})")
    return "<br>".join(lines)


def _time(at: pd.Timestamp) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _times(column: pd.Series) -> list[str]:
    return column.dt.strftime("%Y-%m-%d %H:%M:%S").tolist()


def _values(column: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in column]
