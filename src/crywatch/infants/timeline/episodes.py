"""What was unusual, when, and how sure: stretches of sessions, and where the infant stands now.

A marked recording alone is nothing: at a promised rate of 0.1 one in ten normal cries is marked.
An episode is either a lasting change (the evidence of `timeline.trend` passed its limit,
from the session after it last was zero to the one where it was highest) or a possible one: at least
two unusual sessions, nearly in a row, whose combined p is at or below the configured level. A
session is unusual where at least half of its recordings are marked. A stretch that goes up to the
latest session is told whatever its combined p, if most of its recordings are marked: few sessions
against a small baseline cannot reach the level, and "as usual" would be the wrong word for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.infants.timeline.analysis import InfantTimeline
from crywatch.infants.timeline.config import EpisodesConfig
from crywatch.infants.timeline.standard import NEW

_ROUNDING = 1e-9


@dataclass(frozen=True)
class SessionRange:
    """Sessions by number, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class Episode:
    """A stretch of unusual sessions of one infant."""

    first_session: int
    last_session: int
    begin: pd.Timestamp
    end: pd.Timestamp
    sessions: int
    recordings: int
    marked: int  # recordings
    lowest_p: float  # of a recording
    combined_p: float  # of the sessions, as if the stretch had been named beforehand
    lasting: bool  # the evidence passed its limit
    passed_session: int | None  # in which it did
    passed_at: pd.Timestamp | None
    ongoing: bool  # the evidence still stands, or the stretch goes up to the latest session


def find_episodes(timeline: InfantTimeline, config: EpisodesConfig) -> tuple[Episode, ...]:
    """In the order of time."""
    sessions = timeline.sessions
    lasting = _over_limit(sessions)
    possible = [
        stretch
        for stretch in _clusters(sessions, config.join_sessions)
        if not any(stretch.first <= rise.last and rise.first <= stretch.last for rise in lasting)
    ]
    episodes = [_episode(timeline, stretch, True) for stretch in lasting]
    for stretch in possible:
        episode = _episode(timeline, stretch, False)
        mostly_marked = 2 * episode.marked > episode.recordings
        if episode.combined_p <= config.level or (episode.ongoing and mostly_marked):
            episodes.append(episode)
    return tuple(sorted(episodes, key=lambda episode: episode.first_session))


def combined_p(p: np.ndarray, units: int) -> float:
    """One p of the sessions' own, which are independent but for the calibration they share.

    Fisher's sum of -2 log p, with the correction for p-values of one calibration of ``units``
    (Bates et al., Testing for outliers with conformal p-values, Annals of Statistics 2023): its
    variance is larger by 1 + m / units.
    """
    from scipy.special import chdtrc  # scipy.stats takes seconds to import

    p = p[np.isfinite(p)]
    if not len(p):
        return 1.0
    wider = np.sqrt(1 + len(p) / max(1, units))
    total = float(-2 * np.log(p).sum())
    return float(chdtrc(2 * len(p), (total + 2 * (wider - 1) * len(p)) / wider))


def _over_limit(sessions: pd.DataFrame) -> list[SessionRange]:
    """Each time the evidence was above its limit, from its rise to its peak."""
    evidence = sessions["cusum"].to_numpy()
    limit = sessions["cusum_limit"].to_numpy()
    over = evidence > limit  # never where either is nan
    out: list[SessionRange] = []
    for run in _runs(over):
        first = run.first
        while first > 0 and evidence[first - 1] > 0:
            first -= 1
        inside = evidence[run.first : run.last + 1]
        peak = int(np.flatnonzero(inside >= inside.max() - _ROUNDING)[-1])
        rise = SessionRange(first, run.first + peak)
        if out and rise.first <= out[-1].last:  # never back at zero: one change
            rise = SessionRange(out.pop().first, rise.last)
        out.append(rise)
    return out


def _clusters(sessions: pd.DataFrame, join: int) -> list[SessionRange]:
    """Two or more unusual sessions with at most ``join`` usual ones between neighbours."""
    followed = ((sessions["phase"] == NEW) & sessions["promised"]).to_numpy()
    marked, recordings = sessions["marked"].to_numpy(), sessions["recordings"].to_numpy()
    unusual = np.flatnonzero(followed & (2 * marked >= recordings))
    if not len(unusual):
        return []
    parts = np.split(unusual, np.flatnonzero(np.diff(unusual) > join + 1) + 1)
    return [SessionRange(int(part[0]), int(part[-1])) for part in parts if len(part) > 1]


def _runs(flags: np.ndarray) -> Sequence[SessionRange]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [SessionRange(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]


def _episode(timeline: InfantTimeline, stretch: SessionRange, lasting: bool) -> Episode:
    rows = timeline.sessions.iloc[stretch.first : stretch.last + 1]
    over = (rows["cusum"] > rows["cusum_limit"]).to_numpy()
    passed = rows.iloc[int(np.argmax(over))] if over.any() else None
    at_end = stretch.last == len(timeline.sessions) - 1
    # Two usual sessions or so after the peak bring the evidence below its limit.
    since = timeline.sessions.iloc[stretch.last :]
    latest = since.iloc[-1]
    fell = (since["cusum"] <= since["cusum_limit"]).any()
    stands = lasting and not fell and latest["cusum"] > latest["cusum_limit"]
    return Episode(
        first_session=stretch.first,
        last_session=stretch.last,
        begin=rows["begin"].iloc[0],
        end=rows["end"].iloc[-1],
        sessions=len(rows),
        recordings=int(rows["recordings"].sum()),
        marked=int(rows["marked"].sum()),
        lowest_p=float(rows["lowest_p"].min()),
        combined_p=combined_p(rows["p"].to_numpy(), int(rows["units"].min())),
        lasting=lasting,
        passed_session=None if passed is None else int(passed["session"]),
        passed_at=None if passed is None else passed["begin"],
        ongoing=at_end or stands,
    )
