"""What a year is worth: false alarms, delays, what was absorbed, and how far a baseline was drawn.

All are taken infant by infant and given as means over infants with their intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.infants.estimates import Estimate
from crywatch.infants.gate import DISTRESSED, NOT_A_CRY
from crywatch.infants.models.contract import Baseline
from crywatch.infants.updating import HELD, most_alarms

MONTH_DAYS = 365.25 / 12
SLOW, CHANGE, ATTACK = "slow", "change", "attack"
Estimates = dict[str, Estimate]
Values = dict[str, float | None]  # of one infant


@dataclass(frozen=True)
class Rules:
    """What measures need to know of the year."""

    rate: float  # of false alarms, promised
    watch: int  # recordings; with more alarms among them than chance gives a change is noticed
    hold_chance: float
    event_day: float
    end_day: float  # of the year
    last_days: float  # what counts as the end of a stream
    over_day: float  # on which an attack is over


def slow(frame: pd.DataFrame, rules: Rules) -> Estimates:
    """``frame``: rows of table ``year`` of one way, the infants' own recordings of a year."""
    months = (rules.end_day - frame["day"].min()) / MONTH_DAYS

    def measure(rows: pd.DataFrame) -> Values:
        alarm, held, by_heads = rows["alarm"], _held(rows), _by_heads(rows)
        last_quarter = rows["day"] >= rules.end_day - 3 * MONTH_DAYS
        return {
            "false_alarms_a_month": alarm.sum() / months,
            "false_alarm_rate": alarm.mean(),
            "false_alarm_rate_last_quarter": alarm[last_quarter].mean(),
            "refused_by_heads": by_heads.mean(),
            "false_alarm_rate_passed": alarm[~by_heads].mean(),
            "accepted": rows["accepted"].mean(),
            "held": held.mean(),
            "held_at_end": float(held.iloc[-1]),
            "noticed": float(_noticed(alarm.to_numpy(), rules) is not None),
        }

    return _estimates(frame, measure)


def change(frame: pd.DataFrame, rules: Rules) -> Estimates:
    """``frame``: one way, recordings after a change that stays.

    Delays are over infants in which there is one; ``noticed`` is the share of those.
    """
    last_day = frame["day"].max() - rules.last_days

    def measure(rows: pd.DataFrame) -> Values:
        day, alarm = rows["day"], rows["alarm"]
        noticed = _noticed(alarm.to_numpy(), rules)
        first = int(np.argmax(alarm)) if alarm.any() else None
        first_recordings, first_days = _after(rows, first)
        noticed_recordings, noticed_days = _after(rows, noticed)
        return {
            "first_alarm_recordings": first_recordings,
            "first_alarm_days": first_days,
            "noticed": float(noticed is not None),
            "noticed_recordings": noticed_recordings,
            "noticed_days": noticed_days,
            "accepted": rows["accepted"].mean(),
            "alarms_at_first": alarm[day < rules.event_day + rules.last_days].mean(),
            "alarms_at_last": alarm[day > last_day].mean(),
        }

    return _estimates(frame, measure)


def attack(frame: pd.DataFrame, rules: Rules) -> Estimates:
    """``frame``: one way, all recordings from the attack on."""

    def measure(rows: pd.DataFrame) -> Values:
        alarm, accepted, hostile = rows["alarm"], rows["accepted"], rows["hostile"]
        after = rows["day"] >= rules.over_day
        return {
            "hostile_accepted": accepted[hostile].mean(),
            "hostile_alarms": alarm[hostile].mean(),
            "false_alarm_rate": alarm[~hostile & ~after].mean(),
            "false_alarm_rate_after": alarm[after].mean(),
            "accepted_after": accepted[after].mean(),
        }

    return _estimates(frame, measure)


MEASURES = {SLOW: slow, CHANGE: change, ATTACK: attack}


def drift_of(attacked: Baseline, undisturbed: Baseline) -> float:
    """How far an attack drew the centroid, in the infant's own spread.

    The distance between the centroids of what both models are fitted on at the same time, by the
    mean distance of the undisturbed one's recordings from theirs.
    """
    centre = undisturbed.vectors.mean(axis=0)
    spread = float(np.linalg.norm(undisturbed.vectors - centre, axis=1).mean())
    return float(np.linalg.norm(attacked.vectors.mean(axis=0) - centre)) / max(spread, 1e-12)


def _estimates(frame: pd.DataFrame, measure: Callable[[pd.DataFrame], Values]) -> Estimates:
    """Each infant's values as means; what no infant has is left out."""
    values = pd.DataFrame(
        [measure(rows.sort_values("order")) for _, rows in frame.groupby("infant", sort=True)],
        dtype=float,
    )
    out: Estimates = {}
    for name in values:
        is_share = not name.endswith(("_days", "_recordings", "_month"))
        estimate = Estimate.of(values[name].dropna().tolist(), share=is_share)
        if estimate is not None:
            out[name] = estimate
    return out


def _held(rows: pd.DataFrame) -> pd.Series:
    return rows["reason"].fillna("").str.startswith(HELD)


def _by_heads(rows: pd.DataFrame) -> pd.Series:
    """Which rows the heads refused: no cry, or distress."""
    return rows["reason"].fillna("").str.startswith((NOT_A_CRY, DISTRESSED))


def _noticed(alarms: np.ndarray, rules: Rules) -> int | None:
    """The place of the recording at which the latest ones alarm more than chance gives."""
    most = most_alarms(rules.watch, rules.rate, rules.hold_chance)
    total = np.cumsum(alarms)
    total[rules.watch :] = total[rules.watch :] - total[: -rules.watch]
    above = np.flatnonzero(total > most)
    return int(above[0]) if len(above) else None


def _after(rows: pd.DataFrame, place: int | None) -> tuple[float | None, float | None]:
    """Recordings and days from the first row to the one at ``place``, both counted in."""
    if place is None:
        return None, None
    days = rows["day"].to_numpy()
    return float(place + 1), float(days[place] - days[0])
