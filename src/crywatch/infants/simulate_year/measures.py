"""What a year is worth: false alarms, delays, what was absorbed, and how far a baseline was drawn.

All are taken infant by infant and given as means over infants with their intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Rules:
    """What measures need to know of the year."""

    rate: float  # of false alarms, promised
    watch: int  # recordings; with more alarms among them than chance gives a change is noticed
    hold_chance: float
    event_day: float
    end_day: float  # of the year
    last_days: float  # what counts as the end of a stream


def slow(frame: pd.DataFrame, rules: Rules) -> Estimates:
    """``frame``: rows of table ``year`` of one way, the infants' own recordings of a year."""
    months = (rules.end_day - frame["day"].min()) / MONTH_DAYS
    quarter = frame["day"] >= rules.end_day - 3 * MONTH_DAYS
    return _estimates(
        frame,
        {
            "false_alarms_a_month": lambda rows: rows["alarm"].sum() / months,
            "false_alarm_rate": lambda rows: rows["alarm"].mean(),
            "false_alarm_rate_last_quarter": lambda rows: rows.loc[
                quarter[rows.index], "alarm"
            ].mean(),
            "refused_by_heads": lambda rows: _by_heads(rows).mean(),
            "false_alarm_rate_passed": lambda rows: rows.loc[~_by_heads(rows), "alarm"].mean(),
            "accepted": lambda rows: rows["accepted"].mean(),
            "held": lambda rows: _held(rows).mean(),
            "held_at_end": lambda rows: float(_held(rows).iloc[-1]),
            "noticed": lambda rows: float(_noticed(rows["alarm"].to_numpy(), rules) is not None),
        },
    )


def change(frame: pd.DataFrame, rules: Rules) -> Estimates:
    """``frame``: one way, recordings after a change that stays.

    Delays are over infants in which there is one; ``noticed`` is the share of those.
    """
    end = frame["day"].max()
    return _estimates(
        frame,
        {
            "first_alarm_recordings": lambda rows: _after(rows, _first_alarm(rows))[0],
            "first_alarm_days": lambda rows: _after(rows, _first_alarm(rows))[1],
            "noticed": lambda rows: float(_noticed(rows["alarm"].to_numpy(), rules) is not None),
            "noticed_recordings": lambda rows: _after(
                rows, _noticed(rows["alarm"].to_numpy(), rules)
            )[0],
            "noticed_days": lambda rows: _after(rows, _noticed(rows["alarm"].to_numpy(), rules))[1],
            "accepted": lambda rows: rows["accepted"].mean(),
            "alarms_at_first": lambda rows: rows.loc[
                rows["day"] < rules.event_day + rules.last_days, "alarm"
            ].mean(),
            "alarms_at_last": lambda rows: rows.loc[
                rows["day"] > end - rules.last_days, "alarm"
            ].mean(),
        },
    )


def attack(frame: pd.DataFrame, over_day: float, drift: Sequence[float]) -> Estimates:
    """``frame``: one way, all recordings from the attack on; it is over on ``over_day``.

    ``drift`` [infants]: see `drift_of`.
    """
    found = _estimates(
        frame,
        {
            "hostile_accepted": lambda rows: rows.loc[rows["hostile"], "accepted"].mean(),
            "hostile_alarms": lambda rows: rows.loc[rows["hostile"], "alarm"].mean(),
            "false_alarm_rate": lambda rows: rows.loc[
                ~rows["hostile"] & (rows["day"] < over_day), "alarm"
            ].mean(),
            "false_alarm_rate_after": lambda rows: rows.loc[
                rows["day"] >= over_day, "alarm"
            ].mean(),
            "accepted_after": lambda rows: rows.loc[rows["day"] >= over_day, "accepted"].mean(),
        },
    )
    return found | {"drift": Estimate.of(list(drift))}


def drift_of(attacked: Baseline, undisturbed: Baseline) -> float:
    """How far an attack drew the centroid, in the infant's own spread.

    The distance between the centroids of what both models are fitted on at the same time, by the
    mean distance of the undisturbed one's recordings from theirs.
    """
    centre = undisturbed.vectors.mean(axis=0)
    spread = float(np.linalg.norm(undisturbed.vectors - centre, axis=1).mean())
    return float(np.linalg.norm(attacked.vectors.mean(axis=0) - centre)) / max(spread, 1e-12)


def _estimates(
    frame: pd.DataFrame, measures: dict[str, Callable[[pd.DataFrame], float]]
) -> Estimates:
    infants = [rows.sort_values("order") for _, rows in frame.groupby("infant", sort=True)]
    out: Estimates = {}
    for name, measure in measures.items():
        values = [measure(rows) for rows in infants]
        known = [float(value) for value in values if value is not None and np.isfinite(value)]
        is_share = not name.endswith(("_days", "_recordings", "_month"))
        if (found := Estimate.of(known, share=is_share)) is not None:
            out[name] = found
    return out


def _held(rows: pd.DataFrame) -> pd.Series:
    return rows["reason"].fillna("").str.startswith(HELD)


def _by_heads(rows: pd.DataFrame) -> pd.Series:
    """Which rows the heads refused: no cry, or distress."""
    return rows["reason"].fillna("").str.startswith((NOT_A_CRY, DISTRESSED))


def _first_alarm(rows: pd.DataFrame) -> int | None:
    alarms = rows["alarm"].to_numpy()
    return int(np.argmax(alarms)) if alarms.any() else None


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
