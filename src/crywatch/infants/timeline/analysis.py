"""The timeline of each infant: its recordings and sessions on common scales, and the trend.

`analyse` makes timelines from the tables of `infants.follow`, `extend` adds recordings to one
without computing anything anew that was computed before; both give the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.core.errors import TableError
from crywatch.core.progress import progress
from crywatch.data.tables import conform, empty
from crywatch.data.tables.infants import FOLLOWED
from crywatch.data.tables.timelines import TIMELINE, TIMELINE_SESSIONS
from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.standard import BASELINE, NEW, StandardScores, standardise
from crywatch.infants.timeline.trend import Reading, TrendState, advance

_NS = 1e-9
_TREND = ("gap_days", "ewma", "ewma_limit", "cusum", "cusum_limit")


@dataclass(frozen=True)
class InfantTimeline:
    """One infant's tables, and what has to be known to go on with them."""

    infant_id: str
    recordings: pd.DataFrame  # table "timeline", in the order of time
    sessions: pd.DataFrame  # table "timeline_sessions"
    bands: pd.DataFrame  # table "bands", by version
    state: TrendState


def analyse(
    followed: pd.DataFrame, bands: pd.DataFrame, config: TimelineConfig, seed: int
) -> list[InfantTimeline]:
    """A timeline for each infant of tables ``followed`` and ``bands``, in the order of ids.

    ``seed`` is that of the simulated limits. TableError where a version has no band.
    """
    by_infant = dict(tuple(bands.groupby("infant_id", sort=True)))
    out = []
    grouped = followed.groupby("infant_id", sort=True)
    for infant_id, rows in progress(grouped, "timelines", len(grouped), "infant"):
        if infant_id not in by_infant:
            raise TableError(
                f"table bands: infant {infant_id} has none; both tables must be of one run of "
                "stage timeline"
            )
        nothing = InfantTimeline(
            str(infant_id), empty(TIMELINE), empty(TIMELINE_SESSIONS), bands, TrendState()
        )
        out.append(_append(nothing, _in_order(rows), by_infant[infant_id], config, seed))
    return out


def extend(
    timeline: InfantTimeline,
    followed: pd.DataFrame,
    bands: pd.DataFrame,
    config: TimelineConfig,
    seed: int,
) -> InfantTimeline:
    """``timeline`` with more recordings of the same infant, none earlier than those it has.

    ``followed`` are the new rows alone, ``bands`` all of the infant's. The past is neither read nor
    changed; config and seed must be those that it was made with. TableError where a row is of the
    baseline, of another infant or too early: then `analyse` has to make the timeline anew.
    """
    rows = _in_order(followed)
    if not len(rows):
        return timeline
    if (rows["infant_id"] != timeline.infant_id).any():
        raise TableError(f"table followed: not all rows are of infant {timeline.infant_id}")
    latest = timeline.recordings["recorded_at"].iloc[-1]
    if (rows["phase"] == BASELINE).any() or rows["recorded_at"].iloc[0] < latest:
        raise TableError(
            f"infant {timeline.infant_id}: a baseline recording or one before {latest} cannot be "
            "added to a timeline; analyse all recordings again"
        )
    own = bands[bands["infant_id"] == timeline.infant_id]
    return _append(timeline, rows, own, config, seed)


def _in_order(followed: pd.DataFrame) -> pd.DataFrame:
    rows = conform(followed, FOLLOWED)
    return rows.sort_values("recorded_at", kind="stable", ignore_index=True)


def _append(
    timeline: InfantTimeline,
    rows: pd.DataFrame,
    bands: pd.DataFrame,
    config: TimelineConfig,
    seed: int,
) -> InfantTimeline:
    bands = bands.sort_values("version", ignore_index=True)
    recordings, state = _follow(timeline.state, rows, standardise(rows, bands), config, seed)
    # The session that was open may have gone on.
    first = max(0, timeline.state.number)
    earlier = timeline.recordings
    open_rows = earlier[np.searchsorted(earlier["session"].to_numpy(), first) :]
    closed = timeline.sessions.iloc[:first]
    return InfantTimeline(
        infant_id=timeline.infant_id,
        recordings=_join(earlier, recordings),
        sessions=_join(closed, _sessions(_join(open_rows, recordings))),
        bands=bands,
        state=state,
    )


def _follow(
    state: TrendState,
    rows: pd.DataFrame,
    standard: StandardScores,
    config: TimelineConfig,
    seed: int,
) -> tuple[pd.DataFrame, TrendState]:
    phases, new = rows["phase"].to_numpy(), (rows["phase"] == NEW).to_numpy()
    # A session that goes from the baseline into what came after is two.
    names = _names(rows)
    followed = new & standard.promised
    at_s = rows["recorded_at"].astype("int64").to_numpy() * _NS
    numbers = np.empty(len(rows), dtype=np.int64)
    trend = np.empty((len(rows), len(_TREND)))
    for row in range(len(rows)):
        reading = Reading(
            session=f"{phases[row]} {names[row]}",
            at_s=float(at_s[row]),
            z=float(standard.z[row]),
            units=int(standard.units[row]),
            alike=int(standard.alike[row]),
            followed=bool(followed[row]),
        )
        now = advance(state, reading, config, seed)
        state = now.state
        numbers[row] = state.number
        trend[row] = now.gap_days, now.ewma, now.ewma_limit, now.cusum, now.cusum_limit
    out = rows.assign(
        session=numbers,
        promised=standard.promised,
        units=standard.units,
        distance=standard.distance,
        z=standard.z,
        **dict(zip(_TREND, trend.T, strict=True)),
    )
    # Types are right by now; `conform` would take longer than all else of a short update.
    return out[list(TIMELINE.columns)], state


def _sessions(recordings: pd.DataFrame) -> pd.DataFrame:
    """Table "timeline_sessions" of whole sessions; its trend is that of a session's last row."""
    session = recordings["session"].to_numpy()
    first = np.flatnonzero(np.diff(session, prepend=session[0] - 1))
    last = np.append(first[1:], len(session)) - 1
    begins, ends = recordings.iloc[first], recordings.iloc[last]
    counted = np.diff(first, append=len(session))
    z, p = (_means(recordings[name].to_numpy(), first) for name in ("z", "p"))
    several = np.add.reduceat(recordings["p"].notna().to_numpy(dtype=int), first) > 1
    values = {name: ends[name].to_numpy() for name in TIMELINE_SESSIONS.columns if name in ends}
    values |= {
        "session_id": _names(ends),
        "begin": begins["recorded_at"].array,
        "end": ends["recorded_at"].array,
        "gap_days": begins["gap_days"].to_numpy(),
        "recordings": counted,
        "marked": np.add.reduceat(recordings["alarm"].to_numpy(dtype=int), first),
        "z": z,
        # Twice the mean of p-values is one whatever they have in common (Vovk and Wang, 2020).
        "p": np.minimum(np.where(several, 2 * p, p), 1.0),
        "lowest_p": np.fmin.reduceat(recordings["p"].to_numpy(), first),
    }
    return pd.DataFrame(values)[list(TIMELINE_SESSIONS.columns)]


def _names(rows: pd.DataFrame) -> np.ndarray:
    """Of each recording's session; one of no session is one by itself."""
    return np.where(rows["session_id"].notna(), rows["session_id"], rows["clip_id"])


def _means(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Of what is known between each two of ``first``; nan where nothing is."""
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), first)
    count = np.add.reduceat(known.astype(int), first)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _join(above: pd.DataFrame, below: pd.DataFrame) -> pd.DataFrame:
    if not len(above):
        return below
    return pd.concat([above, below], ignore_index=True)
