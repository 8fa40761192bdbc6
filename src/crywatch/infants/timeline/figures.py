"""The figures of one infant: its recordings over the calendar, and its sessions one by one.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; every kind of mark
has a shape of its own too. Text of users is escaped, for Plotly reads tags.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.standard import BASELINE
from crywatch.infants.timeline.summary import Summary

if TYPE_CHECKING:
    import plotly.graph_objects as go

USUAL, MARKED, OLD, KEPT_OUT = "#0072B2", "#D55E00", "#7a828c", "#1c2530"
BAND, GAP, REMARK, LEVEL = "#d7ecdf", "#eceef1", "#E69F00", "#009E73"
FURTHEST = 6.0  # distance that is drawn; what is beyond is drawn there
NEAREST = -3.0
LONGEST_LABEL = 22  # characters
LABEL_SHARE = 0.02  # of a narrow screen's picture that a character of a label takes
_TIME, _NUMBER = "%d %b %Y, %H:%M", ".2f"


def time_figure(timeline: InfantTimeline, summary: Summary, gap_days: float) -> go.Figure:
    """Distance of each recording from the infant's own normal, and the smoothed line below it."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.07
    )
    figure.update_layout(template="none")
    rows = timeline.recordings
    height = rows["distance"].clip(NEAREST, FURTHEST)
    hover = [_recording_text(row) for row in rows.itertuples()]
    baseline = (rows["phase"] == BASELINE).to_numpy()
    marked = rows["alarm"].to_numpy()
    kinds = (
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
            figure.add_trace(
                go.Scatter(
                    x=_times(rows["recorded_at"][chosen]),
                    y=_values(height[chosen]),
                    customdata=np.flatnonzero(chosen).tolist(),
                    hovertext=[hover[row] for row in np.flatnonzero(chosen)],
                    hoverinfo="text",
                    mode="markers",
                    name=name,
                    marker=marker,
                ),
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


def session_figure(timeline: InfantTimeline, summary: Summary) -> go.Figure:
    """The level of each session with its change points, and the evidence of a lasting change."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.5, 0.5], vertical_spacing=0.09
    )
    figure.update_layout(template="none")
    rows = timeline.sessions
    hover = [_session_text(row) for row in rows.itertuples()]
    number = (rows["session"] + 1).tolist()
    old = rows["phase"] == BASELINE
    figure.add_trace(
        go.Scatter(
            x=number,
            y=_values(rows["z"]),
            hovertext=hover,
            hoverinfo="text",
            mode="markers",
            name="session",
            marker={
                "size": 8,
                "color": [OLD if one else USUAL for one in old],
                "symbol": ["circle-open" if one else "circle" for one in old],
            },
        ),
        row=1,
        col=1,
    )
    _add_levels(figure, rows, summary)
    over = rows["cusum"] > rows["cusum_limit"]
    figure.add_trace(
        go.Bar(
            x=number,
            y=_values(rows["cusum"]),
            hovertext=hover,
            hoverinfo="text",
            name="evidence",
            marker={"color": [MARKED if one else USUAL for one in over]},
        ),
        row=2,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=number,
            y=_values(rows["cusum_limit"]),
            mode="lines",
            name="limit",
            hoverinfo="skip",
            line={"color": MARKED, "dash": "dash", "shape": "hvh", "width": 1.5},
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="level", zerolinecolor=GAP, row=1, col=1)
    figure.update_yaxes(title_text="evidence", rangemode="tozero", row=2, col=1)
    figure.update_xaxes(zeroline=False, range=[0.2, len(rows) + 0.8])
    figure.update_xaxes(title_text="session", row=2, col=1)
    return _styled(figure, 380)


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


def _add_smoothed(figure: go.Figure, rows: pd.DataFrame, gap_days: float) -> None:
    import plotly.graph_objects as go

    after_gap = np.flatnonzero((rows["gap_days"] > gap_days).to_numpy())
    # A value that is not there, between the two sides of a gap, breaks the line.
    times, lines = _times(rows["recorded_at"]), {}
    for column in ("ewma", "ewma_limit"):
        lines[column] = _values(rows[column])
        for row in after_gap[::-1]:
            lines[column].insert(row, None)
    for row in after_gap[::-1]:
        times.insert(row, times[row])
    for column, name, style in (
        ("ewma_limit", "limit", {"color": MARKED, "dash": "dash", "width": 1.5}),
        ("ewma", "smoothed", {"color": USUAL, "width": 2}),
    ):
        figure.add_trace(
            go.Scatter(
                x=times,
                y=lines[column],
                mode="lines",
                name=name,
                line=style,
                connectgaps=False,
                hovertemplate=f"{name} %{{y:{_NUMBER}}}<extra></extra>",
            ),
            row=2,
            col=1,
        )


def _add_bands(figure: go.Figure, timeline: InfantTimeline) -> None:
    """What is normal, by version: the first one's is that of the baseline too."""
    rows, bands = timeline.recordings, timeline.bands
    first, last = rows["recorded_at"].iloc[0], rows["recorded_at"].iloc[-1]
    pad = max(pd.Timedelta(hours=12), (last - first) * 0.02)
    since = [first - pad, *bands["since"].iloc[1:]]
    for number, band in enumerate(bands.itertuples()):
        until = since[number + 1] if number + 1 < len(bands) else last + pad
        spread = band.high - band.centre
        if np.isnan(spread):  # nothing was calibrated: no range is known
            continue
        low = (band.low - band.centre) / spread if spread > 0 else 0.0
        figure.add_shape(
            type="rect",
            xref="x",
            yref="y",
            x0=_time(since[number]),
            x1=_time(until),
            y0=max(NEAREST, low),
            y1=1,
            fillcolor=BAND,
            line={"width": 0},
            layer="below",
        )
        if number:
            figure.add_shape(
                type="line",
                xref="x",
                yref="y domain",
                x0=_time(since[number]),
                x1=_time(since[number]),
                y0=0,
                y1=0.06,
                line={"color": OLD, "width": 1},
            )
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
    for row in np.flatnonzero((rows["gap_days"] > gap_days).to_numpy()):
        begin, end = rows["recorded_at"].iloc[row - 1], rows["recorded_at"].iloc[row]
        for axis in ("", "2"):
            figure.add_shape(
                type="rect",
                xref=f"x{axis}",
                yref=f"y{axis} domain",
                x0=_time(begin),
                x1=_time(end),
                y0=0,
                y1=1,
                fillcolor=GAP,
                line={"width": 0},
                layer="below",
            )
        figure.add_annotation(
            x=_time(begin + (end - begin) / 2),
            y=0.14,
            xref="x",
            yref="y domain",
            text=f"no recordings<br>{rows['gap_days'].iloc[row]:.0f} days",
            showarrow=False,
            font={"size": 11, "color": "#55606e"},
        )


def _add_remarks(figure: go.Figure, timeline: InfantTimeline, summary: Summary) -> None:
    rows = timeline.recordings
    begin, end = rows["recorded_at"].iloc[0], rows["recorded_at"].iloc[-1]
    taken = 1.0  # to the left of the labels so far
    for one in reversed(summary.remarks):
        figure.add_shape(
            type="rect",
            xref="x",
            yref="y domain",
            x0=_time(one.begin),
            x1=_time(one.end),
            y0=1.0,
            y1=1.035,
            fillcolor=REMARK,
            line={"color": REMARK, "width": 2},
        )
        short = one.remark
        if len(short) > LONGEST_LABEL:
            short = short[: LONGEST_LABEL - 1] + "…"
        # At the sides of the picture the label goes inwards, so that a narrow screen holds it.
        first, last = (
            (at - begin) / (end - begin) if end > begin else 0.0 for at in (one.begin, one.end)
        )
        anchor, at = ("right", one.end) if first > 0.5 else ("left", one.begin)
        width = LABEL_SHARE * (len(short) + 1)
        left = last - width if first > 0.5 else first
        if left + width > taken + 1e-9 and taken < 1:
            continue  # it would cover the one after it; the list on the page has all
        taken = left
        figure.add_annotation(
            x=_time(at),
            y=1.04,
            xref="x",
            yref="y domain",
            xanchor=anchor,
            yanchor="bottom",
            text=escape(short),
            hovertext=escape(one.remark),
            showarrow=False,
            font={"size": 11},
        )


def _add_levels(figure: go.Figure, rows: pd.DataFrame, summary: Summary) -> None:
    """A line at the mean of each level, where change points were looked for."""
    import plotly.graph_objects as go

    if summary.changes.reason:
        return
    scored = rows[rows["z"].notna()].tail(summary.changes.sessions)
    cuts = [point.session for point in summary.changes.points]
    x, y = [], []
    number, level = scored["session"].to_numpy(), scored["z"].to_numpy()
    ends = np.searchsorted(number, cuts)
    for part, values in zip(np.split(number, ends), np.split(level, ends), strict=True):
        x += [int(part[0]) + 0.6, int(part[-1]) + 1.4, None]
        y += [round(float(values.mean()), 4)] * 2 + [None]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            name="level",
            hoverinfo="skip",
            line={"color": LEVEL, "width": 3},
        ),
        row=1,
        col=1,
    )
    for cut in cuts:
        figure.add_shape(
            type="line",
            xref="x",
            yref="y domain",
            x0=cut + 0.5,
            x1=cut + 0.5,
            y0=0,
            y1=1,
            line={"color": LEVEL, "dash": "dot", "width": 1.5},
        )


def _recording_text(row) -> str:
    said = [f"<b>{row.recorded_at.strftime(_TIME)} UTC</b>"]
    if row.phase == BASELINE:
        said.append("part of the baseline")
    elif row.alarm:
        said.append("marked as unusual")
    if np.isfinite(row.distance):
        beyond = ", beyond the picture" if row.distance > FURTHEST else ""
        said.append(f"distance {row.distance:{_NUMBER}} (limit 1){beyond}")
    if np.isfinite(row.p):
        said.append(f"p {row.p:.3g}")
    if not row.accepted:
        said.append(f"kept out of the baseline: {escape(row.reason or 'no reason given')}")
    if row.remark:
        said.append(f"remark: {escape(row.remark)}")
    return "<br>".join(said)


def _session_text(row) -> str:
    marked = "" if row.phase == BASELINE else f", {row.marked} marked"
    said = [
        f"<b>session {row.session + 1}: {row.begin.strftime(_TIME)} UTC</b>",
        f"{row.recordings} recording{'s' * (row.recordings != 1)}{marked}",
    ]
    if np.isfinite(row.z):
        said.append(f"level {row.z:{_NUMBER}}")
    if np.isfinite(row.cusum):
        said.append(f"evidence {row.cusum:{_NUMBER}} (limit {row.cusum_limit:{_NUMBER}})")
    return "<br>".join(said)


def _time(at: pd.Timestamp) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _times(column: pd.Series) -> list[str]:
    return column.dt.strftime("%Y-%m-%d %H:%M:%S").tolist()


def _values(column: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in column]
