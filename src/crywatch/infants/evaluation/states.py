"""An infant in two states: its normal is fitted on one of them, and the other is to be told.

Where a corpus says in which state an infant cried, by its categories, the recordings of one are
its baseline. By folds some of them are held out, and a model is calibrated on the rest: alarms on
those are false, alarms on the other state are detections. What is held out are whole occasions
(sessions) where an infant has `OCCASIONS`; else recordings, and then an occasion is on both sides.
An AUC compares scores of one fold, which have the same models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crywatch.core.errors import ConfigError
from crywatch.infants.conformal import ConformalConfig, calibrate, deal, judge
from crywatch.infants.estimates import Estimate
from crywatch.infants.models.contract import Baseline, InfantModel

OCCASIONS = 3  # of a baseline: one to test, two to calibrate on
MEASURES = ("auc", "false_alarms", "detected")


@dataclass
class StatesConfig:
    """Section ``states``."""

    pairs: list[list[str]]  # categories of a corpus: the baseline, and the other state
    least: int  # recordings of an infant's baseline
    folds: int

    def __post_init__(self) -> None:
        if any(len(set(pair)) != 2 or len(pair) != 2 for pair in self.pairs):
            raise ConfigError(f"states.pairs: {self.pairs} must be pairs of two categories")
        if self.least < OCCASIONS or self.folds < 2:
            raise ConfigError(
                f"states: least {self.least} must be at least {OCCASIONS} and folds {self.folds} 2"
            )


@dataclass(frozen=True)
class InfantInStates:
    """Row numbers of ``recordings`` in the order of time."""

    infant_id: str
    corpus: str
    part: str
    pair: tuple[str, str]
    baseline: np.ndarray
    other: np.ndarray
    occasions: np.ndarray  # [baseline], what is held out together
    apart: bool  # whole occasions are; false: recordings

    def folds(self, count: int) -> np.ndarray:
        """[baseline]: the fold that holds each recording out."""
        _, number, sizes = np.unique(self.occasions, return_inverse=True, return_counts=True)
        return deal(sizes, min(count, len(sizes)))[number]


@dataclass(frozen=True)
class StatesRow:
    """One kind of model on one kind of vectors: means over infants with 95 % intervals (Student's).

    Rates are over the infants with a promise. None where there is no infant, or no interval.
    """

    corpus: str
    baseline: str
    other: str
    part: str
    vectors: str
    model: str
    infants: int
    apart: int  # infants of whom whole occasions are held out
    promised: int  # infants
    baseline_recordings: int
    other_recordings: int
    rate_promised: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    false_alarms: float | None
    false_alarms_low: float | None
    false_alarms_high: float | None
    detected: float | None
    detected_low: float | None
    detected_high: float | None


def find(
    recordings: pd.DataFrame, parts: Sequence[str], config: StatesConfig
) -> list[InfantInStates]:
    """The infants of ``parts`` with both states of a pair; ``recordings`` is the store's table."""
    ordered = recordings.sort_values(["recorded_at", "clip_id"], kind="stable")
    ordered = ordered[ordered["split"].isin(list(parts))]
    found = []
    for pair in config.pairs:
        for (corpus, infant_id), own in ordered.groupby(["corpus", "infant_id"], sort=True):
            baseline, other = (own[own["category"] == state] for state in pair)
            if len(baseline) < config.least or not len(other):
                continue
            # Recordings of no known session are of one occasion.
            occasions = baseline["session_id"].fillna("").to_numpy(dtype=str)
            apart = len(np.unique(occasions)) >= OCCASIONS
            if not apart:
                occasions = baseline["clip_id"].to_numpy(dtype=str)
            rows = baseline.index.to_numpy(), other.index.to_numpy()
            part = str(own["split"].iloc[0])
            place = str(infant_id), str(corpus), part, (pair[0], pair[1])
            found.append(InfantInStates(*place, *rows, occasions, apart))
    return found


def evaluate(
    model: InfantModel,
    vectors: np.ndarray,
    name: str,
    infants: Sequence[InfantInStates],
    conformal: ConformalConfig,
    config: StatesConfig,
) -> list[StatesRow]:
    """A row a corpus, pair and part; ``vectors`` [recordings, dim] are called ``name``."""
    values = measure(model, vectors, infants, conformal, config.folds)
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for one, infant in enumerate(infants):
        groups.setdefault((infant.corpus, *infant.pair, infant.part), []).append(one)
    rows = []
    for group, members in groups.items():
        table = values[members]
        estimates: dict[str, Any] = {}
        for measured, column in zip(MEASURES, table.T, strict=True):
            known = Estimate.of(column[np.isfinite(column)], share=True)
            ends = (None,) * 3 if known is None else (known.mean, known.low, known.high)
            names = (measured, f"{measured}_low", f"{measured}_high")
            estimates |= dict(zip(names, ends, strict=True))
        rows.append(
            StatesRow(
                *group,
                vectors=name,
                model=model.name,
                infants=len(members),
                apart=sum(infants[one].apart for one in members),
                promised=int(np.isfinite(table[:, 1]).sum()),
                baseline_recordings=sum(len(infants[one].baseline) for one in members),
                other_recordings=sum(len(infants[one].other) for one in members),
                rate_promised=conformal.rate,
                **estimates,
            )
        )
    return rows


def measure(
    model: InfantModel,
    vectors: np.ndarray,
    infants: Sequence[InfantInStates],
    conformal: ConformalConfig,
    folds: int,
) -> np.ndarray:
    """[infants, `MEASURES`]: the mean over an infant's held-out recordings.

    Without a promise, alarms are not finite.
    """
    tasks = [
        (one, fold == number)
        for one, fold in enumerate(infant.folds(folds) for infant in infants)
        for number in range(fold.max() + 1)
    ]
    baselines, new = [], []
    for task, (one, held) in enumerate(tasks):
        own = infants[one]
        rest = vectors[own.baseline[~held]], own.occasions[~held]
        baselines.append(Baseline(f"{own.infant_id}, task {task}", *rest))
        new.append(vectors[np.concatenate([own.baseline[held], own.other])])
    calibrated = calibrate(model, baselines, conformal)
    judged = judge(model, calibrated, new)
    of_held: list[list[np.ndarray]] = [[] for _ in infants]  # [held, MEASURES] each
    for (one, held), fitted, judgement in zip(tasks, calibrated, judged, strict=True):
        count, known = held.sum(), 0.0 if fitted.promise.promised else np.nan
        scores, alarms = judgement.scores, known + judgement.alarms
        # Each held-out recording against each of the other state.
        auc = (np.sign(scores[count:] - scores[:count, None]).mean(axis=1) + 1) / 2
        detected = np.full(count, alarms[count:].mean())
        of_held[one].append(np.stack([auc, alarms[:count], detected], axis=1))
    return np.array([np.concatenate(parts).mean(axis=0) for parts in of_held])
