"""What a personal baseline is worth: the table of the slides, and what the slides leave out.

Each infant is calibrated on its earlier sessions and tested on its later ones. Positives are other
infants' clips, which measures identity and not health (the slides' 50 an infant most likely did the
same), shifts made from its own test clips, and recordings that are known to be abnormal: these are
in no baseline and are no false alarms. Beside AUC, AP, F1, recall and false alarms stand
the rate that was promised, the rate that was seen with its interval, and the share of infants above
twice the promise, beside how many chance alone would put there.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import Calibrated, ConformalConfig, Judged, calibrate, judge
from crywatch.infants.embedded_cries import InfantClips
from crywatch.infants.evaluation.division import Division, DivisionConfig, divide
from crywatch.infants.evaluation.results import InfantRow, Rate, Summary, Unusable, summarise
from crywatch.infants.models.contract import Baseline, InfantModel


@dataclass
class EvaluationConfig:
    """Section ``evaluation``."""

    division: DivisionConfig
    positives: int  # clips of other infants for each infant, at most; the slides: 50

    def __post_init__(self) -> None:
        if self.positives < 1:
            raise ConfigError(f"evaluation.positives is {self.positives}: it must be at least 1")


@dataclass(frozen=True)
class Evaluation:
    """Everything one model was found to do."""

    rows: tuple[InfantRow, ...]
    calibrated: tuple[Calibrated, ...]  # the infants of the rows
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
        calibrated=tuple(calibrated),
        summary=summarise(model.name, rows, conformal.rate, controls),
        unusable=tuple(
            Unusable(infant.infant_id, len(infant.vectors), division.reason)
            for infant, division in zip(infants, divisions, strict=True)
            if not division.usable
        ),
    )


@dataclass(frozen=True)
class _Parts:
    """All new clips of one infant in one array, and where each part lies."""

    vectors: np.ndarray
    test: slice
    others: slice
    shifts: dict[str, slice]
    changed: dict[str, slice]

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
        known_until = infant.times[divisions[number].baseline].max()
        for changed in infant.changed:
            parts.append(changed.vectors[changed.times > known_until])
        ends = np.cumsum([0, *map(len, parts)]).tolist()
        own, others, *rest = [slice(a, b) for a, b in pairwise(ends)]
        names = [one.name for one in (*infant.shifted, *infant.changed)]
        named = list(zip(names, rest, strict=True))
        made = len(infant.shifted)
        return _Parts(np.concatenate(parts), own, others, dict(named[:made]), dict(named[made:]))


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
        detected=_alarming(judged, parts.shifts, promise.promised),
        changed_clips={name: part.stop - part.start for name, part in parts.changed.items()},
        changed=_alarming(judged, parts.changed, promise.promised),
    )


def _alarming(judged: Judged, parts: dict[str, slice], promised: bool) -> dict[str, float]:
    """The share of each part with an alarm; nothing of a part that is empty, or undecided."""
    return {
        name: float(judged.alarms[part].mean())
        for name, part in parts.items()
        if promised and part.stop > part.start
    }
