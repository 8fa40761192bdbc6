"""One line of a comparison: a metric of two runs with intervals, and whether they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from crywatch.evaluation.evaluate_detection.seconds import DRAWN, Place, places, thresholds
from crywatch.metrics.bootstrap import LEVEL
from crywatch.metrics.curves import binary_metrics
from crywatch.metrics.intervals import group_bootstrap
from crywatch.metrics.paired import McNemar, PairedDifference, holm, mcnemar, paired_differences
from crywatch.operations.compare.pairs import Paired, pair

BETTER, WORSE, SAME = "better", "worse", "no difference shown"
FEW, NOTHING = "too few groups", "nothing in common"
LIMIT = 1 - LEVEL  # of a corrected p


@dataclass(frozen=True)
class Estimate:
    """A metric of one run on all of its own rows, as its MLflow run has it."""

    value: float | None
    low: float | None  # 95 % interval over groups; None where a class has fewer than two
    high: float | None
    n: int  # rows


@dataclass(frozen=True)
class Line:
    """A metric of two runs at one place; differences are the second's minus the first's."""

    first: str  # labels of the runs
    second: str
    model: str
    against: str  # the second's model
    scope: str
    unit: str  # second, clip
    metric: str
    of_first: Estimate
    of_second: Estimate
    common: PairedDifference | None  # on the rows of both; None where they lack a class
    n_common: int
    only_first: int
    only_second: int
    relabelled: int
    p_holm: float | None = None  # corrected for all lines that are decided
    verdict: str = NOTHING

    def as_dict(self) -> dict:
        """Flat, plain values."""
        told = {k: v for k, v in asdict(self).items() if not isinstance(v, dict)}
        told.pop("common", None)
        for side in ("first", "second"):
            estimate = getattr(self, f"of_{side}")
            told |= {f"{side}_{k}": v for k, v in asdict(estimate).items()}
        common = self.common
        names = ("low", "high", "p", "cry_groups", "other_groups")
        values = {name: getattr(common, name, None) for name in names}
        told |= {
            "common_first": getattr(common, "first", None),
            "common_second": getattr(common, "second", None),
            "difference": getattr(common, "difference", None),
            "difference_low": values["low"],
            "difference_high": values["high"],
        }
        return told | {name: values[name] for name in names[2:]}


@dataclass(frozen=True)
class Decision:
    """Decisions of two runs on the recordings of one scope, each at its own threshold.

    A recording, all clips of one group and label, is right if every clip of it is: groups are
    independent of each other, clips of one are not.
    """

    first: str
    second: str
    model: str
    against: str
    scope: str
    threshold_first: float
    threshold_second: float
    test: McNemar

    def as_dict(self) -> dict:
        """Flat, plain values."""
        told = asdict(self)
        return told | told.pop("test")


@dataclass(frozen=True)
class Side:
    """One run's model."""

    run: str  # its label
    model: str
    seconds: pd.DataFrame  # of table "measured", of that model alone


def lines(first: Side, second: Side, scopes: Sequence[str], units: Sequence[str]) -> Iterator[Line]:
    """Lines of every place that both have, before any correction; no scopes are all scopes."""
    other = {(place.scope, place.unit): place for place in places(second.seconds)}
    for place in places(first.seconds):
        partner = other.get((place.scope, place.unit))
        if partner is None or place.unit not in units or (scopes and place.scope not in scopes):
            continue
        yield from _lines(first, second, place, partner)


def _lines(first: Side, second: Side, place: Place, partner: Place) -> Iterator[Line]:
    mine, theirs = estimates(place), estimates(partner)
    both = pair(place.rows, partner.rows, place.unit)
    found = _differences(both)
    for metric in DRAWN:
        yield Line(
            first=first.run,
            second=second.run,
            model=first.model,
            against=second.model,
            scope=place.scope,
            unit=place.unit,
            metric=metric,
            of_first=mine[metric],
            of_second=theirs[metric],
            common=found.get(metric),
            n_common=len(both.labels),
            only_first=both.only_first,
            only_second=both.only_second,
            relabelled=both.relabelled,
        )


def estimates(place: Place) -> dict[str, Estimate]:
    """By metric what `evaluate_detection` says of those rows."""
    labels, scores = place.rows["is_cry"].to_numpy(), place.rows["score"].to_numpy()
    values = binary_metrics(labels, scores, 0.5).as_dict()
    values |= group_bootstrap(labels, scores, place.rows["group_id"]).as_dict()
    return {
        name: Estimate(values[name], values[f"{name}_low"], values[f"{name}_high"], len(labels))
        for name in DRAWN
    }


def _differences(both: Paired) -> dict[str, PairedDifference]:
    if both.labels.all() or not both.labels.any():
        return {}
    return paired_differences(both.labels, both.first, both.second, both.groups)


def judged(found: Iterable[Line]) -> list[Line]:
    """With verdicts, after Holm's correction over all lines that have groups enough to decide."""
    found = list(found)
    tests = [line.common.p if _decidable(line) else None for line in found]
    return [
        replace(line, p_holm=p, verdict=_verdict(line, p))
        for line, p in zip(found, holm(tests), strict=True)
    ]


def _decidable(line: Line) -> bool:
    return line.common is not None and line.common.decidable


def _verdict(line: Line, p: float | None) -> str:
    if line.common is None:
        return NOTHING
    if p is None:
        return FEW
    if p >= LIMIT or line.common.difference == 0:
        return SAME
    return BETTER if line.common.difference > 0 else WORSE


def decisions(first: Side, second: Side, scopes: Sequence[str]) -> Iterator[Decision]:
    """Of every scope of the test part that both have, where both chose a threshold."""
    chosen = [thresholds(side.seconds).get(side.model) for side in (first, second)]
    if None in chosen:
        return
    other = {place.scope: place for place in places(second.seconds) if place.unit == "clip"}
    for place in places(first.seconds):
        # On a corpus left out nothing is decided: its validation part is among what is measured.
        is_test = set(place.rows["split"]) == {"test"}
        wanted = place.unit == "clip" and is_test and (not scopes or place.scope in scopes)
        if wanted and place.scope in other:
            both = pair(place.rows, other[place.scope].rows, "clip")
            if len(both.labels):
                test = mcnemar(*_recordings(both, *chosen))
                told = (first.run, second.run, first.model, second.model)
                yield Decision(*told, place.scope, *chosen, test)


def _recordings(both: Paired, first: float, second: float) -> tuple[np.ndarray, np.ndarray]:
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


def clips_differ(first: Side, second: Side) -> Iterator[ClipsDiffer]:
    """The corpora whose test parts are not the same clips."""
    sounds = []
    for side in (first, second):
        test = side.seconds[side.seconds["split"] == "test"]
        sounds.append({c: set(f["sha256"]) for c, f in test.groupby("corpus", sort=True)})
    for corpus in sorted({*sounds[0], *sounds[1]}):
        one, other = (side.get(corpus, set()) for side in sounds)
        if one != other:
            counts = (len(one & other), len(one - other), len(other - one))
            yield ClipsDiffer(first.run, second.run, corpus, *counts)
