"""The page: an index and every infant in one HTML file that needs nothing beside itself.

It opens from a disk without network: Plotly's script is inside, once, and the page's own policy
forbids the browser every request and every script but the two that it came with. An infant's
figures are drawn when it is selected; `page.html#ID` opens that infant.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from crywatch.core.atomic import write_text
from crywatch.infants.timeline import figures
from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.config import PageConfig, TimelineConfig
from crywatch.infants.timeline.drawing import HEIGHT, WIDTH, Pictures
from crywatch.infants.timeline.standard import BASELINE, NEW
from crywatch.infants.timeline.summary import (
    STATUSES,
    InfantSummary,
    RemarkStretch,
    by_urgency,
    summarise,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEMPLATE, SCRIPT = "page.html.j2", "page.js"
SPARK_RECORDINGS = 60  # the latest
SPARK_WIDTH, SPARK_HEIGHT = 120, 32  # pixels
SPARK_LOW, SPARK_HIGH = -1.0, 3.0  # distances; what is beyond is drawn there


@dataclass(frozen=True)
class PagePicture:
    """A recording's spectrogram on the page."""

    row: int  # of the infant's recordings
    marked: bool
    at: pd.Timestamp
    caption: str
    source: str  # data URI


@dataclass(frozen=True)
class RemarkView:
    """All recordings with the same remark, in a row or not."""

    remark: str
    begin: pd.Timestamp
    end: pd.Timestamp
    recordings: int
    marked: int
    judged: int
    passed: str  # when the evidence passed its limit, in words


@dataclass(frozen=True)
class InfantView:
    """One infant as the template sees it."""

    anchor: str  # id of its section, escaped for an address
    summary: InfantSummary
    status: str  # in words
    spark: str  # points of a polyline
    spark_marks: tuple[tuple[float, float], ...]  # centres, pixels
    band_rows: list[dict]  # of table "bands"
    marked_rows: list[dict]  # of table "timeline", the latest marked
    remarks: tuple[RemarkView, ...]
    pictures: tuple[PagePicture, ...]
    placed: bool  # whether any recording has a distance, so that there is something to draw
    data: str  # JSON of its figures


def write_page(
    path: Path | str,
    infants: Sequence[InfantTimeline],
    config: TimelineConfig,
    pictures: Pictures | None = None,
    notes: Sequence[str] = (),
    title: str = "Cry timelines",
) -> None:
    """Write ``infants`` as one HTML file, the most unusual lately first; it is the same each time.

    Above ``page.max_infants`` the least unusual are left out, and the page says so. ``pictures``
    gives a recording's spectrogram by clip_id; ``notes`` are printed on top of the page.
    """
    summaries = [summarise(infant, config) for infant in infants]
    order = by_urgency(summaries)[: config.page.max_infants]
    views = [_view(infants[at], summaries[at], config, pictures) for at in order]
    write_text(path, _render(views, len(infants) - len(views), config, notes, title))


def _render(
    views: Sequence[InfantView],
    left_out: int,
    config: TimelineConfig,
    notes: Sequence[str],
    title: str,
) -> str:
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "infants/timeline"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters = {"day": _day, "days": _days, "minute": _minute, "number": _number}
    environment.filters |= filters | {"known": _known, "one_of": _one_of}
    scripts = [get_plotlyjs(), files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")]
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    return environment.get_template(TEMPLATE).render(
        infants=views,
        left_out=left_out,
        config=config,
        notes=notes,
        title=title,
        statuses=STATUSES,
        baseline=BASELINE,
        spark=(SPARK_WIDTH, SPARK_HEIGHT, _spark_y(1.0)),
        picture=(WIDTH, HEIGHT),
        colours=figures,
        scripts=scripts,
        hashes=[base64.b64encode(digest).decode() for digest in digests],
    )


def _view(
    infant: InfantTimeline,
    summary: InfantSummary,
    config: TimelineConfig,
    pictures: Pictures | None,
) -> InfantView:
    plots = {
        "time": figures.time_figure(infant, summary, config.gap_days),
        "sessions": figures.session_figure(infant, summary),
    }
    spark = _spark(infant.recordings)
    marked = infant.recordings[infant.recordings["alarm"]].tail(config.page.listed)
    return InfantView(
        anchor=quote(infant.infant_id, safe=""),
        summary=summary,
        status=STATUSES[summary.status],
        spark=" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in spark),
        spark_marks=tuple((round(x, 1), round(y, 1)) for x, y, is_marked in spark if is_marked),
        band_rows=infant.bands.to_dict("records"),
        marked_rows=marked.iloc[::-1].to_dict("records"),
        remarks=_remarks(summary.remarks),
        pictures=_pictures(infant.recordings, config.page, pictures),
        placed=bool(infant.recordings["distance"].notna().any()),
        data=_json({name: _plain(figure) for name, figure in plots.items()}),
    )


def _remarks(stretches: Sequence[RemarkStretch]) -> tuple[RemarkView, ...]:
    """A row for each remark, the latest first: who remarks on every recording has few of them."""
    by_text: dict[str, list[RemarkStretch]] = {}
    for stretch in stretches:
        by_text.setdefault(stretch.remark, []).append(stretch)
    rows = []
    for remark, parts in by_text.items():
        judged = sum(part.judged for part in parts)
        passed = [part.passed_after for part in parts if part.passed_after]
        if passed and len(parts) == 1:
            words = f"in its session {passed[0]}"
        elif passed:
            words = f"in {len(passed)} of {len(parts)} stretches"
        else:
            words = "no" if judged else ""
        recordings, marked = (
            sum(getattr(part, name) for part in parts) for name in ("recordings", "marked")
        )
        begin, end = parts[0].begin, parts[-1].end
        rows.append(RemarkView(remark, begin, end, recordings, marked, judged, words))
    return tuple(sorted(rows, key=lambda row: row.end, reverse=True))


def _plain(figure: go.Figure) -> dict[str, Any]:
    content = figure.to_plotly_json()
    content["layout"].pop("template", None)  # empty, but for a line each kind of trace
    return content


def _json(value: dict) -> str:
    """JSON that can stand inside a script element, whatever text is in it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _spark(recordings: pd.DataFrame) -> list[tuple[float, float, bool]]:
    """Position in pixels of the latest recordings, and whether each is marked."""
    rows = recordings[recordings["distance"].notna()].tail(SPARK_RECORDINGS)
    y = _spark_y(rows["distance"].clip(SPARK_LOW, SPARK_HIGH).to_numpy())
    x = np.linspace(3, SPARK_WIDTH - 3, max(2, len(rows)))
    return [(float(a), float(b), bool(c)) for a, b, c in zip(x, y, rows["alarm"], strict=False)]


def _spark_y(distance: float | np.ndarray) -> Any:
    share = (distance - SPARK_LOW) / (SPARK_HIGH - SPARK_LOW)
    return SPARK_HEIGHT - 3 - (SPARK_HEIGHT - 6) * share


def _pictures(
    recordings: pd.DataFrame, config: PageConfig, pictures: Pictures | None
) -> tuple[PagePicture, ...]:
    """The most unusual marked recordings, and the most usual ones beside them."""
    if pictures is None:
        return ()
    placed = recordings[recordings["distance"].notna()]
    marked = placed[placed["alarm"]].sort_values("distance", ascending=False, kind="stable")
    usual = placed[~placed["alarm"] & placed["accepted"]]
    usual = usual.assign(is_new=usual["phase"] == NEW, far=usual["distance"].abs())
    usual = usual.sort_values(["is_new", "far"], ascending=[False, True], kind="stable")
    out = []
    for rows, count in ((marked, config.unusual_pictures), (usual, config.normal_pictures)):
        for row in rows.head(count).itertuples():
            source = pictures(row.clip_id)
            if source is not None:
                out.append(
                    PagePicture(row.Index, row.alarm, row.recorded_at, _caption(row), source)
                )
    return tuple(out)


def _caption(row: Any) -> str:
    kind = "marked" if row.alarm else "as usual"
    if row.phase == BASELINE:
        kind = "baseline"
    remark = f"; remark: {row.remark}" if row.remark else ""
    return f"{kind}; distance {row.distance:.2f}{remark}"


def _day(at: pd.Timestamp) -> str:
    return f"{at.day} {at.strftime('%b %Y')}"


def _days(stretch: Any) -> str:
    """From the begin to the end of an episode or a remark."""
    begin, end = _day(stretch.begin), _day(stretch.end)
    return begin if begin == end else f"{begin} to {end}"


def _minute(at: pd.Timestamp) -> str:
    return f"{_day(at)}, {at.strftime('%H:%M')}"


def _number(value: float | None, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if _known(value) else "not known"


def _known(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def _one_of(rate: float) -> str:
    """A rate in words: 1 of so many where that is a whole number, else so many of 100."""
    many = 1 / rate
    return f"1 of {many:.0f}" if abs(many - round(many)) < 0.01 else f"{100 * rate:.3g} of 100"
