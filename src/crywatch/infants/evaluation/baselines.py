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

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import (
    CalibratedInfant,
    ConformalConfig,
    Judgement,
    calibrate,
    judge,
)
from crywatch.infants.embedded_cries import InfantClips
from crywatch.infants.evaluation.division import Division, DivisionConfig, divide
from crywatch.infants.evaluation.results import (
    InfantResult,
    ModelSummary,
    Rate,
    UnusableInfant,
    summarise,
)
from crywatch.infants.models.contract import Baseline, InfantModel

_Part = tuple[str, str]  # of an infant's new clips: what they are, and the name of the change
_SHIFTED, _CHANGED = "shifted", "changed"
_OWN, _OTHERS = ("own", ""), ("others", "")


@dataclass
class EvaluationConfig:
    """Section ``evaluation``."""

    division: DivisionConfig
    positives: int  # clips of other infants for each infant, at most; the slides: 50

    def __post_init__(self) -> None:
        if self.positives < 1:
            raise ConfigError(f"evaluation.positives is {self.positives}: it must be at least 1")


@dataclass(frozen=True)
class ModelEvaluation:
    """What one model does for every infant."""

    rows: tuple[InfantResult, ...]
    calibrated: tuple[CalibratedInfant, ...]  # the infants of the rows
    summary: ModelSummary
    unusable: tuple[UnusableInfant, ...]


def evaluate(
    model: InfantModel,
    infants: Sequence[InfantClips],
    conformal: ConformalConfig,
    config: EvaluationConfig,
    seed: int,
) -> ModelEvaluation:
    """Calibrate on each infant's earlier sessions, test on its later ones and on positives.

    ``seed`` draws the clips of other infants. An infant that cannot be divided is named in
    ``unusable`` and is still a positive for others.
    """
    divisions = [divide(infant.sessions, infant.times, config.division) for infant in infants]
    usable = [number for number, division in enumerate(divisions) if division.usable]
    baselines = [_baseline(infants[number], divisions[number]) for number in usable]
    calibrated = calibrate(model, baselines, conformal)
    parts = [_new_clips(infants, divisions, number, config.positives, seed) for number in usable]
    judged = judge(model, calibrated, [np.concatenate(list(part.values())) for part in parts])
    rows = tuple(
        _row(infants[number], divisions[number], *of_infant)
        for number, of_infant in zip(
            usable, zip(calibrated, parts, judged, strict=True), strict=True
        )
    )
    controls = {shifted.name for infant in infants for shifted in infant.shifted if shifted.control}
    return ModelEvaluation(
        rows=rows,
        calibrated=tuple(calibrated),
        summary=summarise(model.name, rows, conformal.rate, controls),
        unusable=tuple(
            UnusableInfant(infant.infant_id, len(infant.vectors), division.reason)
            for infant, division in zip(infants, divisions, strict=True)
            if not division.usable
        ),
    )


def _new_clips(
    infants: Sequence[InfantClips],
    divisions: Sequence[Division],
    number: int,
    positives: int,
    seed: int,
) -> dict[_Part, np.ndarray]:
    """What infant ``number`` is tested on, [clips, dim] each."""
    infant, division = infants[number], divisions[number]
    known_until = infant.times[division.baseline].max()
    return {
        _OWN: infant.vectors[division.test],
        _OTHERS: _others(infants, divisions, number, positives, seed),
        # A shift of a baseline clip would be judged by a model that has seen the clip.
        **{
            (_SHIFTED, shifted.name): shifted.vectors[np.isin(shifted.rows, division.test)]
            for shifted in infant.shifted
        },
        **{
            (_CHANGED, changed.name): changed.vectors[changed.times > known_until]
            for changed in infant.changed
        },
    }


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
    infant: InfantClips,
    division: Division,
    calibrated: CalibratedInfant,
    parts: dict[_Part, np.ndarray],
    judged: Judgement,
) -> InfantResult:
    from sklearn.metrics import average_precision_score, roc_auc_score

    promise = calibrated.promise
    ends = np.cumsum([len(vectors) for vectors in parts.values()])[:-1]
    scores = dict(zip(parts, np.split(judged.scores, ends), strict=True))
    alarms = dict(zip(parts, np.split(judged.alarms, ends), strict=True))
    own, others = len(scores[_OWN]), len(scores[_OTHERS])
    labels = np.repeat([False, True], [own, others])
    both = own > 0 and others > 0
    pooled = np.concatenate([scores[_OWN], scores[_OTHERS]])
    rate = Rate(own, int(alarms[_OWN].sum()))
    low, high = (rate.interval or (None, None)) if promise.promised else (None, None)
    hits = int(alarms[_OTHERS].sum())
    decided = promise.promised and others > 0

    def alarm_shares(kind: str) -> dict[str, float]:
        return {
            name: float(found.mean())
            for (group, name), found in alarms.items()
            if group == kind and promise.promised and len(found)
        }

    return InfantResult(
        infant_id=infant.infant_id,
        recordings=len(division.baseline) + len(division.test),
        baseline_clips=len(division.baseline),
        baseline_sessions=len(np.unique(infant.sessions[division.baseline])),
        test_clips=own,
        test_sessions=len(np.unique(infant.sessions[division.test])),
        positives=others,
        auc=float(roc_auc_score(labels, pooled)) if both else None,
        average_precision=float(average_precision_score(labels, pooled)) if both else None,
        f1=2 * hits / (hits + rate.alarms + others) if decided else None,
        recall=hits / others if decided else None,
        false_alarm_rate=rate.value if promise.promised else None,
        false_alarm_low=low,
        false_alarm_high=high,
        method=promise.method,
        promised=promise.promised,
        rate_promised=promise.rate if promise.promised else None,
        rate_expected=promise.expected if promise.promised else None,
        rate_reachable=promise.reachable,
        reason=promise.reason,
        alarms=rate.alarms,
        detected=alarm_shares(_SHIFTED),
        changed_clips={
            name: len(vectors) for (group, name), vectors in parts.items() if group == _CHANGED
        },
        changed=alarm_shares(_CHANGED),
    )
