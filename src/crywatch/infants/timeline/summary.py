"""What a reader is told of one infant: status, counts, episodes and change points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.changes import ChangePoints, find_changes
from crywatch.infants.timeline.config import TimelineConfig
from crywatch.infants.timeline.episodes import Episode, find_episodes
from crywatch.infants.timeline.standard import BASELINE, NEW

# Status, the most urgent first.
CHANGED = "changed"
UNUSUAL = "unusual lately"
EARLIER = "change earlier"
USUAL = "as usual"
WAITING = "no new recording"
NOT_PROMISED = "nothing promised"
STATUSES = {
    CHANGED: "A lasting change, and the evidence of it still stands",
    UNUSUAL: "Unusual lately, but no lasting change is shown",
    EARLIER: "A change earlier; the latest sessions are nearer to normal",
    USUAL: "As usual",
    WAITING: "No recording since the baseline",
    NOT_PROMISED: "Nothing is promised: scores without marks",
}


@dataclass(frozen=True)
class BaselineCounts:
    """What is normal for the infant: the recordings of the first model."""

    recordings: int
    sessions: int
    begin: pd.Timestamp | None  # None: no recording of it is in the table
    end: pd.Timestamp | None


@dataclass(frozen=True)
class RemarkStretch:
    """Neighbouring recordings with the same remark, and what was seen of them."""

    remark: str
    begin: pd.Timestamp
    end: pd.Timestamp
    recordings: int
    sessions: int
    marked: int  # recordings
    judged: int  # recordings that could be marked
    passed_after: int | None  # sessions until the evidence passed its limit, 1: in the first


@dataclass(frozen=True)
class InfantSummary:
    """Of one infant."""

    infant_id: str
    status: str  # of STATUSES
    urgency: float  # the latest smoothed value as a share of its limit; sorts equal statuses
    baseline: BaselineCounts
    rate: float  # of false marks, wanted by the latest version
    promised: bool  # by the latest version
    reason: str  # why not
    new: int  # recordings after the baseline
    new_sessions: int
    judged: int  # of those, by a version that promises a rate
    marked: int
    expected: float  # marks if nothing changes
    kept_out: int  # by the gate
    versions: int
    latest: pd.Timestamp
    episodes: tuple[Episode, ...]
    changes: ChangePoints
    remarks: tuple[RemarkStretch, ...]


def summarise(timeline: InfantTimeline, config: TimelineConfig) -> InfantSummary:
    """Everything but the tables themselves."""
    rows, sessions = timeline.recordings, timeline.sessions
    new = rows[rows["phase"] == NEW]
    judged = new[new["promised"]]
    rates = timeline.bands.set_index("version")["rate"]
    band = timeline.bands.iloc[-1]
    episodes = find_episodes(timeline, config.episodes)
    changes = find_changes(sessions, config.changes)
    urgency = _urgency(sessions)
    return InfantSummary(
        infant_id=timeline.infant_id,
        status=_status(
            len(new),
            len(judged),
            bool(band["promised"]),
            episodes,
            urgency > 1 or _risen(changes, config.cusum.reference),
        ),
        urgency=urgency,
        baseline=_baseline(rows, sessions),
        rate=float(band["rate"]),
        promised=bool(band["promised"]),
        reason=str(band["reason"] or ""),
        new=len(new),
        new_sessions=int((sessions["phase"] == NEW).sum()),
        judged=len(judged),
        marked=int(judged["alarm"].sum()),
        expected=float(rates.loc[judged["version"]].sum()),
        kept_out=int((~new["accepted"]).sum()),
        versions=len(timeline.bands),
        latest=rows["recorded_at"].iloc[-1],
        episodes=episodes,
        changes=changes,
        remarks=_remarks(timeline),
    )


def by_urgency(summaries: Sequence[InfantSummary]) -> list[int]:
    """Positions of ``summaries``, the most unusual lately first."""
    rank = {status: number for number, status in enumerate(STATUSES)}

    def key(position: int) -> tuple[int, float, str]:
        summary = summaries[position]
        return rank[summary.status], -summary.urgency, summary.infant_id

    return sorted(range(len(summaries)), key=key)


def _baseline(rows: pd.DataFrame, sessions: pd.DataFrame) -> BaselineCounts:
    own = rows[rows["phase"] == BASELINE]
    return BaselineCounts(
        recordings=len(own),
        sessions=int((sessions["phase"] == BASELINE).sum()),
        begin=own["recorded_at"].iloc[0] if len(own) else None,
        end=own["recorded_at"].iloc[-1] if len(own) else None,
    )


def _risen(changes: ChangePoints, reference: float) -> bool:
    """Whether the latest change point led to a level above what an infant may stay at."""
    return bool(changes.points) and changes.points[-1].rose and changes.points[-1].after > reference


def _urgency(sessions: pd.DataFrame) -> float:
    """Of the latest session with a limit."""
    limited = sessions[sessions["ewma_limit"].notna()]
    if not len(limited):
        return 0.0
    return float(limited["ewma"].iloc[-1] / limited["ewma_limit"].iloc[-1])


def _status(new: int, judged: int, promised: bool, episodes: Sequence[Episode], high: bool) -> str:
    """``high``: the latest level of the sessions is above the infant's normal."""
    lasting = [episode for episode in episodes if episode.lasting]
    if any(episode.ongoing for episode in lasting):
        return CHANGED
    if (high and judged) or any(episode.ongoing for episode in episodes):
        return UNUSUAL
    if lasting:
        return EARLIER
    if not promised and not judged:
        return NOT_PROMISED
    return USUAL if new else WAITING


def _remarks(timeline: InfantTimeline) -> tuple[RemarkStretch, ...]:
    rows = timeline.recordings
    text = rows["remark"].fillna("").to_numpy(dtype=object)
    begins = np.flatnonzero(np.concatenate([[True], text[1:] != text[:-1]]))
    out = []
    for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        if text[begin]:
            out.append(_remark_stretch(timeline, rows.iloc[begin:end], str(text[begin])))
    return tuple(out)


def _remark_stretch(timeline: InfantTimeline, rows: pd.DataFrame, remark: str) -> RemarkStretch:
    judged = rows[rows["promised"] & (rows["phase"] == NEW)]
    first, last = int(rows["session"].iloc[0]), int(rows["session"].iloc[-1])
    inside = timeline.sessions.iloc[first : last + 1]
    over = (inside["cusum"] > inside["cusum_limit"]).to_numpy()
    return RemarkStretch(
        remark=remark,
        begin=rows["recorded_at"].iloc[0],
        end=rows["recorded_at"].iloc[-1],
        recordings=len(rows),
        sessions=last - first + 1,
        marked=int(judged["alarm"].sum()),
        judged=len(judged),
        passed_after=int(np.argmax(over)) + 1 if over.any() else None,
    )
