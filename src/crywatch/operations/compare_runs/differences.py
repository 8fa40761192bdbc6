"""A metric of two runs with intervals, whether they differ, and who decides rightly more often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from crywatch.evaluation.evaluate.detection.seconds import DRAWN, MeasuredPlace, places, thresholds
from crywatch.metrics.bootstrap import LEVEL
from crywatch.metrics.curves import binary_metrics
from crywatch.metrics.intervals import group_bootstrap
from crywatch.metrics.paired import McNemar, PairedDifference, holm, mcnemar, paired_differences
from crywatch.metrics.rows import flat
from crywatch.operations.compare_runs.pairs import PairedRows, pair

BETTER, WORSE, SAME = "better", "worse", "no difference shown"
FEW, NOTHING = "too few groups", "nothing in common"
LIMIT = 1 - LEVEL  # of a corrected p
ESTIMATES = ("of_first", "of_second", "common")
COMMON = {  # names of the values of `MetricDifference.common` in a flat row
    "common_first": "first",
    "common_second": "second",
    "difference": "difference",
    "difference_low": "low",
    "difference_high": "high",
    "p": "p",
    "cry_groups": "cry_groups",
    "other_groups": "other_groups",
}


@dataclass(frozen=True)
class MetricEstimate:
    """A metric of one run on all of its own rows, as its MLflow run has it."""

    value: float | None
    low: float | None  # 95 % interval over groups; None where a class has fewer than two
    high: float | None
    n: int  # rows


@dataclass(frozen=True)
class ComparedModels:
    """Two models at one scope, each of a run."""

    first: str  # labels of the runs
    second: str
    model: str
    against: str  # the second's model
    scope: str

    @property
    def models(self) -> str:
        """The model, or both where they are two."""
        return self.model if self.model == self.against else f"{self.model} - {self.against}"


@dataclass(frozen=True)
class MetricDifference(ComparedModels):
    """A metric of two runs at one place; differences are the second's minus the first's."""

    unit: str  # second, clip
    metric: str
    of_first: MetricEstimate
    of_second: MetricEstimate
    common: PairedDifference | None  # on the rows of both; None where they lack a class
    n_common: int
    only_first: int
    only_second: int
    relabelled: int
    p_holm: float | None = None  # corrected for all lines that are decided
    verdict: str = NOTHING

    def as_dict(self) -> dict[str, Any]:
        """Flat, plain values."""
        values = {k: v for k, v in asdict(self).items() if k not in ESTIMATES}
        for side, estimate in (("first", self.of_first), ("second", self.of_second)):
            values |= {f"{side}_{k}": v for k, v in asdict(estimate).items()}
        for key, name in COMMON.items():
            values[key] = getattr(self.common, name, None)
        return values


@dataclass(frozen=True)
class DecisionTest(ComparedModels):
    """Decisions of two runs on the recordings of one scope, each at its own threshold.

    A recording, all clips of one group and label, is right if every clip of it is: groups are
    independent of each other, clips of one are not.
    """

    threshold_first: float
    threshold_second: float
    test: McNemar

    def as_dict(self) -> dict[str, Any]:
        """Flat, plain values."""
        values = asdict(self)
        return values | values.pop("test")


@dataclass(frozen=True)
class RunModel:
    """A model of one run."""

    run: str  # its label
    model: str
    seconds: pd.DataFrame  # of table "measured", of that model alone


def metric_differences(
    first: RunModel, second: RunModel, scopes: Sequence[str], units: Sequence[str]
) -> Iterator[MetricDifference]:
    """Of every place that both have, before any correction; no scopes are all scopes."""
    other = {(place.scope, place.unit): place for place in places(second.seconds)}
    for place in places(first.seconds):
        partner = other.get((place.scope, place.unit))
        if partner is None or place.unit not in units or (scopes and place.scope not in scopes):
            continue
        yield from _of_place(first, second, place, partner)


def _of_place(
    first: RunModel, second: RunModel, place: MeasuredPlace, partner: MeasuredPlace
) -> Iterator[MetricDifference]:
    mine, theirs = estimates(place), estimates(partner)
    both = pair(place.rows, partner.rows, place.unit)
    differences = _differences(both)
    for metric in DRAWN:
        yield MetricDifference(
            first=first.run,
            second=second.run,
            model=first.model,
            against=second.model,
            scope=place.scope,
            unit=place.unit,
            metric=metric,
            of_first=mine[metric],
            of_second=theirs[metric],
            common=differences.get(metric),
            n_common=len(both.labels),
            only_first=both.only_first,
            only_second=both.only_second,
            relabelled=both.relabelled,
        )


def estimates(place: MeasuredPlace) -> dict[str, MetricEstimate]:
    """By metric what stage ``evaluate`` says of those rows."""
    labels, scores = place.rows["is_cry"].to_numpy(), place.rows["score"].to_numpy()
    values = flat(binary_metrics(labels, scores, 0.5))
    values |= flat(group_bootstrap(labels, scores, place.rows["group_id"]))
    return {
        name: MetricEstimate(
            values[name], values[f"{name}_low"], values[f"{name}_high"], len(labels)
        )
        for name in DRAWN
    }


def _differences(both: PairedRows) -> dict[str, PairedDifference]:
    if both.labels.all() or not both.labels.any():
        return {}
    return paired_differences(both.labels, both.first, both.second, both.groups)


def decide(differences: Iterable[MetricDifference]) -> list[MetricDifference]:
    """With verdicts, after Holm's correction over all that have groups enough to decide."""
    rows = list(differences)
    tests = [row.common.p if row.common and row.common.decidable else None for row in rows]
    return [
        replace(row, p_holm=p, verdict=_verdict(row.common, p))
        for row, p in zip(rows, holm(tests), strict=True)
    ]


def _verdict(common: PairedDifference | None, p: float | None) -> str:
    if common is None:
        return NOTHING
    if p is None:
        return FEW
    if p >= LIMIT or common.difference == 0:
        return SAME
    return BETTER if common.difference > 0 else WORSE


def decision_tests(
    first: RunModel, second: RunModel, scopes: Sequence[str]
) -> Iterator[DecisionTest]:
    """Of every scope of the test part that both have, where both chose a threshold."""
    first_limit, second_limit = (
        thresholds(each.seconds).get(each.model) for each in (first, second)
    )
    if first_limit is None or second_limit is None:
        return
    other = {place.scope: place for place in places(second.seconds) if place.unit == "clip"}
    for place in places(first.seconds):
        # On a corpus left out nothing is decided: its validation part is among what is measured.
        is_test = place.unit == "clip" and set(place.rows["split"]) == {"test"}
        if not is_test or place.scope not in other or (scopes and place.scope not in scopes):
            continue
        both = pair(place.rows, other[place.scope].rows, "clip")
        if len(both.labels):
            yield DecisionTest(
                first=first.run,
                second=second.run,
                model=first.model,
                against=second.model,
                scope=place.scope,
                threshold_first=first_limit,
                threshold_second=second_limit,
                test=mcnemar(*_recordings(both, first_limit, second_limit)),
            )


def _recordings(both: PairedRows, first: float, second: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether each decides every clip of a recording rightly."""
    frame = pd.DataFrame(
        {
            "group": both.groups,
            "label": both.labels,
            "first": (both.first >= first) == both.labels,
            "second": (both.second >= second) == both.labels,
        }
    )
    right = frame.groupby(["group", "label"])[["first", "second"]].all()
    return right["first"].to_numpy(), right["second"].to_numpy()


@dataclass(frozen=True)
class ClipsDiffer:
    """Clips of the test part of one corpus, by their sound."""

    first: str
    second: str
    corpus: str
    common: int
    only_first: int
    only_second: int


def clips_differ(first: RunModel, second: RunModel) -> Iterator[ClipsDiffer]:
    """The corpora whose test parts are not the same clips."""
    sounds = []
    for model in (first, second):
        test = model.seconds[model.seconds["split"] == "test"]
        sounds.append({c: set(f["sha256"]) for c, f in test.groupby("corpus", sort=True)})
    for corpus in sorted({*sounds[0], *sounds[1]}):
        ours, theirs = (by_corpus.get(corpus, set()) for by_corpus in sounds)
        if ours != theirs:
            counts = (len(ours & theirs), len(ours - theirs), len(theirs - ours))
            yield ClipsDiffer(first.run, second.run, corpus, *counts)
