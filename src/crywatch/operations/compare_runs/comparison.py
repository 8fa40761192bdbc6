"""What `crywatch compare` does, from the names of runs to a recorded comparison."""

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
from crywatch.evaluation.evaluate.detection.measures import MAIN_MODELS
from crywatch.evaluation.evaluate.detection.seconds import DIGITS, FILE, metric_name, places
from crywatch.operations.compare_runs.differences import (
    ClipsDiffer,
    DecisionTest,
    MetricDifference,
    RunModel,
    clips_differ,
    decide,
    decision_tests,
    metric_differences,
)
from crywatch.tracking import describe, runs
from crywatch.tracking.runs import EvaluatedRun
from crywatch.tracking.store import Store

UNITS = ("second", "clip")


@dataclass(frozen=True)
class ScoredRun:
    """A run with its table "measured"."""

    run: EvaluatedRun
    seconds: pd.DataFrame

    @property
    def models(self) -> list[str]:
        """Measured in it."""
        return list(dict.fromkeys(self.seconds["model"]))

    def of(self, model: str) -> RunModel:
        """One model of it; ConfigError where the run has none of that name."""
        if model not in self.models:
            there = ", ".join(self.models)
            raise ConfigError(f"{self.run.label} has no model {model!r}; there are {there}")
        return RunModel(self.run.label, model, self.seconds[self.seconds["model"] == model])


@dataclass(frozen=True)
class Options:
    """What to compare of two runs."""

    models: tuple[str, ...] = ()  # none: the main ones that both runs have
    against: str = ""  # model of the second run; "": the same as the first's
    scopes: tuple[str, ...] = ()  # none: all
    units: tuple[str, ...] = UNITS


@dataclass(frozen=True)
class ParameterDiffers:
    """A parameter of two runs."""

    run: str  # label of the second
    name: str
    first: str
    second: str


@dataclass(frozen=True)
class RunComparison:
    """Pairs of runs with all that was measured of both."""

    pairs: list[tuple[EvaluatedRun, EvaluatedRun]]
    lines: list[MetricDifference]
    decisions: list[DecisionTest]
    clips: list[ClipsDiffer]
    notes: list[str]  # what only one of two runs has
    models: list[tuple[RunModel, RunModel]]  # whose curves can be drawn

    @property
    def title(self) -> str:
        """The runs, and the models where there are two."""
        return "; ".join(
            dict.fromkeys(
                f"{first.run} and {second.run}"
                if first.model == second.model
                else f"{first.model} and {second.model} of one run"
                for first, second in self.models
            )
        )

    @property
    def changed(self) -> list[ParameterDiffers]:
        """Parameters that differ; of a pair of which one has none recorded nothing is known."""
        return [
            ParameterDiffers(second.label, name, *values)
            for first, second in self.pairs
            if first.params and second.params
            for name, values in describe.changes(first.params, second.params).items()
        ]

    def metrics(self) -> dict[str, float]:
        """For the tracking store, by the names of the compared runs; of two runs alone."""
        if len(self.pairs) != 1:
            return {}
        metrics = {}
        for line in self.lines:
            model = line.model if line.model == line.against else f"{line.model}-{line.against}"
            name = metric_name(model, line.scope, line.unit, line.metric)
            values = line.as_dict()
            for key in ("difference", "difference_low", "difference_high", "p_holm"):
                if values[key] is not None:
                    metrics[f"{name}_{key}"] = round(values[key], DIGITS)
        return metrics


def resolve(
    store: Store, names: Sequence[str], registered: str, within: bool
) -> list[tuple[EvaluatedRun, EvaluatedRun]]:
    """The pairs of runs that ``names`` stand for, the first of each the older or the reference.

    None: the latest rebuild against the one before. One: it against the working tree, and the
    working tree by itself against the latest rebuild. More: each against the first. ``within`` one
    run two models are compared: the latest rebuild without a name.

    Raises
    ------
    CrywatchError
        A name is nothing's or several runs', or there are too few runs.
    """
    picks = [runs.find(store, name, registered) for name in names]
    if within and len(picks) > 1:
        raise ConfigError("--against compares two models of one run: name one run, or none")
    if within and picks:
        return [(picks[0], picks[0])]
    here = [run for run in picks if not run.run_id]
    if not picks or picks == here:  # no name of what to compare with
        count = 1 if within or here else 2
        rebuilt = runs.latest(store, count)[::-1]
        if len(rebuilt) < count:
            raise CrywatchError(
                f"{store.uri} has {len(rebuilt)} rebuild(s) with different scores: `dvc repro` "
                "makes one; name runs to compare, one of them may be `workspace`"
            )
        picks = rebuilt + here[:1]
    elif len(picks) == 1:
        picks.append(runs.workspace())
    if within:
        return [(picks[0], picks[0])]
    return [(picks[0], other) for other in picks[1:]]


def load(store: Store, run: EvaluatedRun, folder: Path) -> ScoredRun:
    """Scores of a run, fetched into ``folder``, or those of the working tree."""
    here = paths.EVALUATE_DETECTION / FILE
    file = runs.artifact(store, run, FILE, folder) if run.run_id else here
    return ScoredRun(run, read_table(file, MEASURED))


def compare(pairs: Sequence[tuple[ScoredRun, ScoredRun]], options: Options) -> RunComparison:
    """Compare the models of each pair of runs.

    Raises
    ------
    ConfigError
        A model or scope of ``options`` is not there, or the runs have none in common.
    """
    lines: list[MetricDifference] = []
    decisions: list[DecisionTest] = []
    clips: list[ClipsDiffer] = []
    notes: list[str] = []
    models = [both for pair in pairs for both in _models(*pair, options, notes)]
    for first, second in progress(models, "compare", unit="model"):
        lines += metric_differences(first, second, options.scopes, options.units)
        decisions += decision_tests(first, second, options.scopes)
    for one, other in pairs:
        common = [name for name in one.models if name in other.models]
        if one is not other and common:
            clips += clips_differ(one.of(common[0]), other.of(common[0]))
    missing = set(options.scopes) - {line.scope for line in lines}
    if missing:
        there = {
            place.scope for both in models for model in both for place in places(model.seconds)
        }
        raise ConfigError(
            f"no model has scope {', '.join(sorted(missing))} in both runs; there are "
            f"{', '.join(sorted(there))}"
        )
    compared = [(first.run, second.run) for first, second in pairs]
    return RunComparison(compared, decide(lines), decisions, clips, notes, models)


def _models(
    first: ScoredRun, second: ScoredRun, options: Options, notes: list[str]
) -> list[tuple[RunModel, RunModel]]:
    """The models to compare; what only one of the runs has goes into ``notes``."""
    if options.against:
        if len(options.models) != 1:
            raise ConfigError("--against needs one --model to compare with it")
        return [(first.of(options.models[0]), second.of(options.against))]
    names = options.models
    if not names:
        names = tuple(m for m in MAIN_MODELS if m in first.models and m in second.models)
        for run, other in ((first, second), (second, first)):
            alone = [model for model in run.models if model not in other.models]
            if alone:
                notes.append(f"only {run.run.label} has {', '.join(alone)}")
    if not names:
        raise ConfigError(
            f"{first.run.label} and {second.run.label} have no main model in common: name one by "
            f"--model; there are {', '.join(first.models)} and {', '.join(second.models)}"
        )
    return [(first.of(name), second.of(name)) for name in names]
