"""What a personal baseline is worth: the table of the slides, and what the slides leave out.

Each infant is calibrated on its earlier sessions and tested on its later ones. Positives are other
infants' clips, which measures identity and not health (the slides' 50 an infant most likely did the
same), and shifts made from its own test clips. Beside AUC, AP, F1, recall and false alarms stand
the rate that was promised, the rate that was seen with its interval, and the share of infants above
twice the promise, beside how many chance alone would put there.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crywatch.errors import ConfigError
from crywatch.infants.conformal import Calibrated, ConformalConfig, Judged, calibrate, judge
from crywatch.infants.contract import Baseline, InfantModel
from crywatch.infants.division import Division, DivisionConfig, divide

LEVEL = 0.95  # of intervals
MEANS = ("auc", "average_precision", "f1", "recall", "false_alarm_rate")  # over infants


@dataclass
class EvaluationConfig:
    """Section ``evaluation``."""

    division: DivisionConfig
    positives: int  # clips of other infants for each infant, at most; the slides: 50

    def __post_init__(self) -> None:
        if self.positives < 1:
            raise ConfigError(f"evaluation.positives is {self.positives}: it must be at least 1")


@dataclass(frozen=True)
class ShiftedClips:
    """Some of an infant's clips after one shift."""

    name: str
    control: bool  # must not alarm
    rows: np.ndarray  # [m], the infant's clip each was made from
    vectors: np.ndarray  # [m, dim]


@dataclass(frozen=True)
class ChangedClips:
    """Recordings of an infant that are known to be abnormal, such as after a planted change.

    They are no baseline and no false alarm; those later than the baseline are positives.
    """

    name: str
    vectors: np.ndarray  # [m, dim]
    times: np.ndarray  # [m], as those of the infant's other clips
    clip_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class InfantClips:
    """All that is known of one infant; ``times`` are numbers or datetime64."""

    infant_id: str
    vectors: np.ndarray  # [clips, dim]
    sessions: np.ndarray  # [clips]
    times: np.ndarray  # [clips]
    shifted: tuple[ShiftedClips, ...] = ()
    changed: tuple[ChangedClips, ...] = ()
    clip_ids: tuple[str, ...] = ()  # where they are known


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
        from scipy.stats import binomtest

        if not self.clips:
            return None
        found = binomtest(self.alarms, self.clips).proportion_ci(LEVEL)
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class InfantRow:
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
    false_alarm_rate: float | None  # seen
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


@dataclass(frozen=True)
class Mean:
    """Over infants."""

    mean: float
    deviation: float  # of the sample; 0 for one infant
    infants: int


@dataclass(frozen=True)
class Summary:
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


@dataclass(frozen=True)
class Unusable:
    """An infant that could not be divided."""

    infant_id: str
    clips: int
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """Everything one model was found to do."""

    rows: tuple[InfantRow, ...]
    summary: Summary
    unusable: tuple[Unusable, ...]


def evaluate(
    model: InfantModel,
    infants: Sequence[InfantClips],
    conformal: ConformalConfig,
    config: EvaluationConfig,
    seed: int,
) -> Evaluation:
    """Calibrate on each infant's earlier sessions, test on its later ones and on positives.

    ``seed`` draws the clips of other infants. An infant that cannot be divided is named in
    ``unusable`` and is still a positive for others.
    """
    divisions = [divide(infant.sessions, infant.times, config.division) for infant in infants]
    chosen = [number for number, division in enumerate(divisions) if division.usable]
    baselines = [_baseline(infants[number], divisions[number]) for number in chosen]
    calibrated = calibrate(model, baselines, conformal)
    parts = [_Parts.of(infants, divisions, number, config.positives, seed) for number in chosen]
    judged = judge(model, calibrated, [part.vectors for part in parts])
    rows = tuple(
        _row(infants[number], divisions[number], *found)
        for number, *found in zip(chosen, calibrated, parts, judged, strict=True)
    )
    controls = {one.name for infant in infants for one in infant.shifted if one.control}
    return Evaluation(
        rows=rows,
        summary=summarise(model.name, rows, conformal.rate, controls),
        unusable=tuple(
            Unusable(infant.infant_id, len(infant.vectors), division.reason)
            for infant, division in zip(infants, divisions, strict=True)
            if not division.usable
        ),
    )


def summarise(
    model: str, rows: Sequence[InfantRow], rate: float, controls: set[str] | frozenset[str]
) -> Summary:
    """``rows`` as one line; ``controls`` are the names of the shifts that should not alarm."""
    kept = [row for row in rows if row.promised and row.test_clips]
    seen = [row.false_alarm_rate for row in kept]
    pooled = Rate(sum(row.test_clips for row in kept), sum(row.alarms for row in kept))
    low, high = pooled.interval or (None, None)
    names = list(dict.fromkeys(name for row in rows for name in row.detected))
    shares = {name: _mean([row.detected.get(name) for row in rows]) for name in names}
    return Summary(
        model=model,
        infants=len(rows),
        promised=sum(row.promised for row in rows),
        means={name: found for name in MEANS if (found := _mean([getattr(r, name) for r in rows]))},
        rate_promised=rate,
        rate_seen=float(np.mean(seen)) if seen else None,
        rate_pooled=pooled.value,
        rate_pooled_low=low,
        rate_pooled_high=high,
        over_twice=float(np.mean([over_twice(r.alarms, r.test_clips, rate) for r in kept]))
        if kept
        else None,
        over_twice_by_chance=_over_twice_by_chance([row.test_clips for row in kept], rate),
        worst=max(seen) if seen else None,
        detected={name: share for name, share in shares.items() if share and name not in controls},
        controls={name: share for name, share in shares.items() if share and name in controls},
    )


def over_twice(alarms: int, clips: int, rate: float) -> bool:
    """Whether so many alarms are above twice the rate."""
    return alarms > 2 * rate * clips + 1e-9


@dataclass(frozen=True)
class _Parts:
    """All new clips of one infant in one array, and where each part lies."""

    vectors: np.ndarray
    test: slice
    others: slice
    shifts: dict[str, slice]

    @staticmethod
    def of(
        infants: Sequence[InfantClips],
        divisions: Sequence[Division],
        number: int,
        positives: int,
        seed: int,
    ) -> _Parts:
        infant, test = infants[number], divisions[number].test
        parts = [infant.vectors[test], _others(infants, divisions, number, positives, seed)]
        for shifted in infant.shifted:
            # A shift of a baseline clip would be judged by a model that has seen the clip.
            parts.append(shifted.vectors[np.isin(shifted.rows, test)])
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        where = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        names = [shifted.name for shifted in infant.shifted]
        shifts = dict(zip(names, where[2:], strict=True))
        return _Parts(np.concatenate(parts), where[0], where[1], shifts)


def _others(
    infants: Sequence[InfantClips],
    divisions: Sequence[Division],
    number: int,
    positives: int,
    seed: int,
) -> np.ndarray:
    """Clips [at most ``positives``, dim] of other infants, as many of each as can be.

    Test clips of those that are divided: their baselines may be of the same days as this one.
    """
    infant = infants[number]
    rng = np.random.default_rng([seed, zlib.crc32(infant.infant_id.encode())])
    queues = []
    for other, division in zip(infants, divisions, strict=True):
        if other.infant_id != infant.infant_id:
            rows = division.test if division.usable else np.arange(len(other.vectors))
            queues.append(other.vectors[rng.permutation(rows)])
    drawn: list[np.ndarray] = []
    order = rng.permutation(len(queues))
    turn = 0
    while len(drawn) < positives and any(turn < len(queue) for queue in queues):
        drawn += [queues[place][turn] for place in order if turn < len(queues[place])]
        turn += 1
    return np.stack(drawn[:positives]) if drawn else infant.vectors[:0]


def _baseline(infant: InfantClips, division: Division) -> Baseline:
    rows = division.baseline
    return Baseline(infant.infant_id, infant.vectors[rows], infant.sessions[rows])


def _row(
    infant: InfantClips, division: Division, calibrated: Calibrated, parts: _Parts, judged: Judged
) -> InfantRow:
    from sklearn.metrics import average_precision_score, roc_auc_score

    promise = calibrated.promise
    own, others = judged.scores[parts.test], judged.scores[parts.others]
    labels = np.repeat([False, True], [len(own), len(others)])
    both = len(own) > 0 and len(others) > 0
    scores = np.concatenate([own, others])
    seen = Rate(len(own), int(judged.alarms[parts.test].sum()))
    low, high = (seen.interval or (None, None)) if promise.promised else (None, None)
    hits = int(judged.alarms[parts.others].sum())
    decided = promise.promised and len(others) > 0
    return InfantRow(
        infant_id=infant.infant_id,
        recordings=len(division.baseline) + len(division.test),
        baseline_clips=len(division.baseline),
        baseline_sessions=len(np.unique(infant.sessions[division.baseline])),
        test_clips=len(own),
        test_sessions=len(np.unique(infant.sessions[division.test])),
        positives=len(others),
        auc=float(roc_auc_score(labels, scores)) if both else None,
        average_precision=float(average_precision_score(labels, scores)) if both else None,
        f1=2 * hits / (hits + seen.alarms + len(others)) if decided else None,
        recall=hits / len(others) if decided else None,
        false_alarm_rate=seen.value if promise.promised else None,
        false_alarm_low=low,
        false_alarm_high=high,
        method=promise.method,
        promised=promise.promised,
        rate_promised=promise.rate if promise.promised else None,
        rate_expected=promise.expected if promise.promised else None,
        rate_reachable=promise.reachable,
        reason=promise.reason,
        alarms=seen.alarms,
        detected={
            name: float(judged.alarms[part].mean())
            for name, part in parts.shifts.items()
            if promise.promised and part.stop > part.start
        },
    )


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
