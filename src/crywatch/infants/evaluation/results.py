"""What an evaluation found: a row an infant, and the rows as one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crywatch.metrics.intervals import share_interval

LEVEL = 0.95  # of intervals
MEANS = ("auc", "average_precision", "f1", "recall", "false_alarm_rate")  # over infants


@dataclass(frozen=True)
class Rate:
    """Alarms of clips, with the exact binomial interval (Clopper and Pearson, 1934).

    It takes clips as independent; those of one session are not, so it is rather too narrow.
    """

    clips: int
    alarms: int

    @property
    def value(self) -> float | None:
        """Share of the clips; None without any."""
        return self.alarms / self.clips if self.clips else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """At `LEVEL`; None without clips."""
        return share_interval(self.alarms, self.clips, LEVEL) if self.clips else None


@dataclass(frozen=True)
class InfantResult:
    """One infant. What needs decisions is None where no rate is promised."""

    infant_id: str
    recordings: int  # baseline and test clips
    baseline_clips: int
    baseline_sessions: int
    test_clips: int
    test_sessions: int
    positives: int  # clips of other infants
    auc: float | None  # other infants against own test clips
    average_precision: float | None
    f1: float | None
    recall: float | None
    false_alarm_rate: float | None  # on the test clips
    false_alarm_low: float | None
    false_alarm_high: float | None
    method: str
    promised: bool
    rate_promised: float | None
    rate_expected: float | None  # the promise, down to what so many clips can tell
    rate_reachable: float
    reason: str  # why nothing is promised
    alarms: int
    detected: dict[str, float] = field(default_factory=dict)  # share with an alarm, by shift
    changed_clips: dict[str, int] = field(default_factory=dict)  # later than the baseline, by name
    changed: dict[str, float] = field(default_factory=dict)  # share of those with an alarm


@dataclass(frozen=True)
class Mean:
    """Over infants."""

    mean: float
    deviation: float  # of the sample; 0 for one infant
    infants: int


@dataclass(frozen=True)
class ModelSummary:
    """Over infants; rates and shares over those with a promise, None where there is none."""

    model: str
    infants: int
    promised: int
    means: dict[str, Mean]  # of `MEANS`, over infants that have a value
    rate_promised: float
    rate_seen: float | None  # mean over infants
    rate_pooled: float | None  # alarms by clips
    rate_pooled_low: float | None
    rate_pooled_high: float | None
    over_twice: float | None  # share of infants above twice the promise
    over_twice_by_chance: float | None  # what it would be if every clip kept the promise
    worst: float | None  # the highest rate seen
    detected: dict[str, Mean]  # shifts that should alarm
    controls: dict[str, Mean]  # shifts that should not
    changed: dict[str, Mean]  # recordings that are known to be abnormal


@dataclass(frozen=True)
class UnusableInfant:
    """An infant that could not be divided."""

    infant_id: str
    clips: int
    reason: str


def summarise(
    model: str, rows: Sequence[InfantResult], rate: float, controls: set[str] | frozenset[str]
) -> ModelSummary:
    """``rows`` as one line; ``controls`` are the names of the shifts that should not alarm."""
    judged = [row for row in rows if row.promised and row.test_clips]
    rates = [row.false_alarm_rate for row in judged if row.false_alarm_rate is not None]
    over = [over_twice(row.alarms, row.test_clips, rate) for row in judged]
    pooled = Rate(sum(row.test_clips for row in judged), sum(row.alarms for row in judged))
    low, high = pooled.interval or (None, None)
    shares = _means([row.detected for row in rows])
    return ModelSummary(
        model=model,
        infants=len(rows),
        promised=sum(row.promised for row in rows),
        means={name: mean for name in MEANS if (mean := _mean([getattr(r, name) for r in rows]))},
        rate_promised=rate,
        rate_seen=float(np.mean(rates)) if rates else None,
        rate_pooled=pooled.value,
        rate_pooled_low=low,
        rate_pooled_high=high,
        over_twice=float(np.mean(over)) if over else None,
        over_twice_by_chance=_over_twice_by_chance([row.test_clips for row in judged], rate),
        worst=max(rates, default=None),
        detected={name: share for name, share in shares.items() if name not in controls},
        controls={name: share for name, share in shares.items() if name in controls},
        changed=_means([row.changed for row in rows]),
    )


def over_twice(alarms: int, clips: int, rate: float) -> bool:
    """Whether so many alarms are above twice the rate."""
    return alarms > 2 * rate * clips + 1e-9


def _means(shares: Sequence[dict[str, float]]) -> dict[str, Mean]:
    """Over infants, of each name that one of them has."""
    names = dict.fromkeys(name for row in shares for name in row)
    return {name: mean for name in names if (mean := _mean([row.get(name) for row in shares]))}


def _mean(values: Sequence[float | None]) -> Mean | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return Mean(float(np.mean(known)), deviation, len(known))


def _over_twice_by_chance(clips: Sequence[int], rate: float) -> float | None:
    from scipy.stats import binom

    if not clips:
        return None
    counts = np.array(clips)
    return float(np.mean(binom.sf(np.floor(2 * rate * counts + 1e-9), counts, rate)))
