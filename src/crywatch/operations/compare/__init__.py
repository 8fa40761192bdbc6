"""`crywatch compare`: whether runs differ on the same clips, with intervals, not two bare numbers.

A run's own numbers are those of its MLflow run: of all that it measured. Differences are of the
rows that both runs have (`pairs`), by the paired bootstrap over groups (`metrics.paired`), their
p values corrected for the number of lines shown (Holm). Everything is of the test part and of
corpora left out, as stage ``evaluate_detection`` measured it; nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from crywatch.core import paths
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.core.progress import progress
from crywatch.data.tables import read_table
from crywatch.data.tables.evaluation import MEASURED
from crywatch.evaluation.evaluate_detection.measures import MAIN_MODELS
from crywatch.evaluation.evaluate_detection.seconds import DIGITS, FILE, metric_name, places
from crywatch.operations.compare.rows import (
    ClipsDiffer,
    Decision,
    Line,
    Side,
    clips_differ,
    decisions,
    judged,
    lines,
)
from crywatch.tracking import runs
from crywatch.tracking.runs import EvaluatedRun
from crywatch.tracking.store import Store

UNITS = ("second", "clip")


@dataclass(frozen=True)
class Scored:
    """A run with its table "measured"."""

    run: EvaluatedRun
    seconds: pd.DataFrame

    @property
    def models(self) -> list[str]:
        """Measured in it."""
        return list(dict.fromkeys(self.seconds["model"]))

    def side(self, model: str) -> Side:
        """One model of it."""
        return Side(self.run.label, model, self.seconds[self.seconds["model"] == model])


@dataclass(frozen=True)
class Wanted:
    """What to compare."""

    models: tuple[str, ...] = ()  # none: the main ones that both runs have
    against: str = ""  # model of the second side; "": the same as the first's
    scopes: tuple[str, ...] = ()  # none: all
    units: tuple[str, ...] = UNITS


@dataclass(frozen=True)
class Comparison:
    """Everything that is said."""

    pairs: list[tuple[EvaluatedRun, EvaluatedRun]]
    lines: list[Line]
    decisions: list[Decision]
    clips: list[ClipsDiffer]
    notes: list[str]  # what only one of two runs has
    sides: list[tuple[Side, Side]]  # whose curves can be drawn

    @property
    def title(self) -> str:
        """The runs, and the models where there are two."""
        said = []
        for first, second in self.sides:
            model = "" if first.model == second.model else " of one run"
            names = (first.run, second.run) if not model else (first.model, second.model)
            said.append(" and ".join(names) + model)
        return "; ".join(dict.fromkeys(said))

    def metrics(self) -> dict[str, float]:
        """For the tracking store, by the names of the compared runs; of two runs alone."""
        if len(self.pairs) != 1:
            return {}
        found = {}
        for line in self.lines:
            model = line.model if line.model == line.against else f"{line.model}-{line.against}"
            name = metric_name(model, line.scope, line.unit, line.metric)
            told = line.as_dict()
            for key in ("difference", "difference_low", "difference_high", "p_holm"):
                if told[key] is not None:
                    found[f"{name}_{key}"] = round(told[key], DIGITS)
        return found


def resolve(
    store: Store, names: Sequence[str], registered: str, within: bool
) -> list[tuple[EvaluatedRun, EvaluatedRun]]:
    """The pairs of runs that ``names`` ask for, the first of each the older or the reference.

    None: the latest rebuild against the one before. One: it against the working tree, and the
    working tree by itself against the latest rebuild. More: each against the first. ``within`` one
    run two models are compared: the latest rebuild without a name.

    Raises
    ------
    CrywatchError
        A name is nothing's or several runs', or there are too few runs.
    """
    found = [runs.find(store, name, registered) for name in names]
    if within and len(found) > 1:
        raise ConfigError("--against compares two models of one run: name one run, or none")
    if within and found:
        return [(found[0], found[0])]
    here = [run for run in found if not run.run_id]
    if not found or found == here:  # what it is compared with is not said
        wanted = 1 if within or here else 2
        rebuilt = runs.latest(store, wanted)[::-1]
        if len(rebuilt) < wanted:
            raise CrywatchError(
                f"{store.uri} has {len(rebuilt)} rebuild(s) with different scores: `dvc repro` "
                "makes one; name runs to compare, one of them may be `workspace`"
            )
        found = rebuilt + here[:1]
    elif len(found) == 1:
        found.append(runs.workspace())
    if within:
        return [(found[0], found[0])]
    return [(found[0], other) for other in found[1:]]


def load(store: Store, run: EvaluatedRun, folder: Path) -> Scored:
    """Scores of a run, fetched into ``folder``, or those of the working tree."""
    here = paths.EVALUATE_DETECTION / FILE
    file = runs.artifact(store, run, FILE, folder) if run.run_id else here
    return Scored(run, read_table(file, MEASURED))


def compare(pairs: Sequence[tuple[Scored, Scored]], wanted: Wanted) -> Comparison:
    """Compare the models of each pair of runs.

    Raises
    ------
    ConfigError
        A model or scope that was asked for is not there, or the runs have none in common.
    """
    found: list[Line] = []
    decided: list[Decision] = []
    clips: list[ClipsDiffer] = []
    notes: list[str] = []
    sides = [side for pair in pairs for side in _sides(*pair, wanted, notes)]
    for first, second in progress(sides, "compare", unit="model"):
        found += lines(first, second, wanted.scopes, wanted.units)
        decided += decisions(first, second, wanted.scopes)
    for first, second in pairs:
        both = [m for m in first.models if m in second.models]
        if first is not second and both:
            clips += clips_differ(first.side(both[0]), second.side(both[0]))
    _check_scopes(found, sides, wanted.scopes)
    told = [(first.run, second.run) for first, second in pairs]
    return Comparison(told, judged(found), decided, clips, notes, sides)


def _sides(
    first: Scored, second: Scored, wanted: Wanted, notes: list[str]
) -> list[tuple[Side, Side]]:
    if wanted.against:
        if len(wanted.models) != 1:
            raise ConfigError("--against needs one --model to compare with it")
        return [
            (_named(first, wanted.models[0]), _named(second, wanted.against)),
        ]
    names = wanted.models
    if not names:
        names = tuple(m for m in MAIN_MODELS if m in first.models and m in second.models)
        for one, other in ((first, second), (second, first)):
            alone = [m for m in one.models if m not in other.models]
            if alone:
                notes.append(f"only {one.run.label} has {', '.join(alone)}")
    if not names:
        raise ConfigError(
            f"{first.run.label} and {second.run.label} have no main model in common: name one by "
            f"--model; there are {', '.join(first.models)} and {', '.join(second.models)}"
        )
    return [(_named(first, name), _named(second, name)) for name in names]


def _named(scored: Scored, model: str) -> Side:
    if model not in scored.models:
        there = ", ".join(scored.models)
        raise ConfigError(f"{scored.run.label} has no model {model!r}; there are {there}")
    return scored.side(model)


def _check_scopes(
    found: Sequence[Line], sides: Sequence[tuple[Side, Side]], scopes: Sequence[str]
) -> None:
    missing = set(scopes) - {line.scope for line in found}
    if missing:
        known = {place.scope for pair in sides for side in pair for place in places(side.seconds)}
        raise ConfigError(
            f"no model has scope {', '.join(sorted(missing))} in both runs; there are "
            f"{', '.join(sorted(known))}"
        )


__all__ = ["Comparison", "Scored", "Wanted", "compare", "load", "resolve"]
