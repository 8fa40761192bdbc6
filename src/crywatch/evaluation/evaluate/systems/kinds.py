"""False alarms an hour by kind of sound, and what they make of a nursery's day.

A false alarm is a run of seconds of a clip without a cry that are called one, at the threshold that
a stated share of crying seconds reaches on the validation part: no other sound chooses it, so
kinds that were left out do not either. Counts are taken as Poisson (Garwood, 1936); alarms of one
recording come together, so that bounds of few sources are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crywatch.data.selection import is_left_out, leaves_kinds
from crywatch.evaluation.scopes import by_clip, clips_alone, known, pooled
from crywatch.evaluation.scored import ScoredSystem
from crywatch.metrics.intervals import poisson_interval, poisson_upper

TEST, UNSEEN = "test", "unseen"  # the test part; all parts of the kinds that were left out
LEVEL = 0.95


@dataclass(frozen=True)
class KindRow:
    """One system on one kind of sound."""

    row: str  # of a table: the system without its seed
    system: str
    part: str  # TEST, UNSEEN
    kind: str
    hours: float
    sources: int  # groups
    alarms: int
    per_hour: float
    low: float  # exact 95 % interval
    high: float
    recall_second: float | None  # of the test part's crying seconds, at the same threshold
    recall_clip: float | None


@dataclass(frozen=True)
class MixRow:
    """What the kinds make of the stated hours of a day."""

    row: str
    part: str
    per_hour: float | None  # None where a kind of the mix was not measured
    upper_per_hour: float | None  # at 95 %: every kind at its own bound, by Bonferroni
    missing: tuple[str, ...]  # kinds of the mix of which there is no sound


def recall_threshold(seconds: pd.DataFrame, recall: float) -> float | None:
    """The highest that ``recall`` of the crying seconds of part val reach; None without any."""
    rows = clips_alone(seconds)
    rows = pooled(rows[rows["split"] == "val"]) if (rows["split"] == "val").any() else rows[:0]
    falling = np.sort(rows.loc[rows["is_cry"], "score"].to_numpy())[::-1]
    return float(falling[math.ceil(recall * len(falling)) - 1]) if len(falling) else None


def kind_rows(
    system: ScoredSystem, seconds: pd.DataFrame, left_out: Iterable[str], recall: float
) -> Iterator[KindRow]:
    """Rows of one system by its ``seconds`` as recorded, and of what it has ``left_out``."""
    threshold = recall_threshold(seconds, recall)
    if threshold is None:
        return
    rows = clips_alone(seconds)
    rows = rows[rows["canonical"]]
    test = rows[rows["split"] == "test"]
    cries = test[test["label"] == "cry"]
    crying = known(cries).query("is_cry")["score"]
    shares = [crying, by_clip(cries)["score"]]
    found = [float((score >= threshold).mean()) if len(score) else None for score in shares]
    folds = [names for names in left_out if leaves_kinds(names)]
    parts = [(UNSEEN, rows[is_left_out(rows, names)]) for names in folds]
    if not leaves_kinds(system.leave_out):
        parts.insert(0, (TEST, test))
    for part, here in parts:
        for kind, frame in here[here["label"] == "other"].groupby("kind"):
            hours = float(frame.groupby("clip_id")["duration_s"].first().sum()) / 3600
            count = alarms(frame, threshold)
            bounds = poisson_interval(count)
            yield KindRow(
                system.row,
                system.name,
                part,
                str(kind),
                hours,
                int(frame["group_id"].nunique()),
                count,
                count / hours,
                bounds.low / hours,
                bounds.high / hours,
                *found,
            )


def alarms(seconds: pd.DataFrame, threshold: float) -> int:
    """Runs of called seconds within a clip."""
    ordered = seconds.sort_values(["clip_id", "start_s"], kind="stable")
    called = (ordered["score"] >= threshold).to_numpy()
    same = (ordered["clip_id"] == ordered["clip_id"].shift()).to_numpy()
    goes_on = np.concatenate([[False], called[:-1]]) & same
    return int((called & ~goes_on).sum())


def mix_rows(rows: Iterable[KindRow], mix: Mapping[str, float]) -> Iterator[MixRow]:
    """The rate of each row and part over the hours of ``mix`` by kind; the first seed of a row."""
    of_row: dict[tuple[str, str], dict[str, KindRow]] = {}
    for each in rows:
        of_row.setdefault((each.row, each.part), {}).setdefault(each.kind, each)
    total = sum(mix.values())
    for (row, part), kinds in of_row.items():
        missing = tuple(kind for kind in mix if kind not in kinds)
        rate = upper = None
        if mix and not missing:
            level = 1 - (1 - LEVEL) / len(mix)
            rate = sum(hours * kinds[kind].per_hour for kind, hours in mix.items()) / total
            upper = sum(
                hours * poisson_upper(kinds[kind].alarms, level) / kinds[kind].hours
                for kind, hours in mix.items()
            )
            upper /= total
        yield MixRow(row, part, rate, upper, missing)
