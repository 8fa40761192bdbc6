"""Models of infants by enrolment clips: ``python -m benchmarks.few_clips --help``.

An infant's first N recordings are its baseline; its later sessions and other infants' recordings
are the test, the same for every N. Alarms are counted at the promised rate (conformal, as
`fit_infants` has it) and above the highest score of the baseline itself, a threshold that needs no
clip left out. Nothing is random but which recordings of others are taken.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import ONE_THREAD, positive, print_runs

if TYPE_CHECKING:
    import numpy as np

    from crywatch.infants.fit_infants import FitInfantsConfig
    from crywatch.infants.models.contract import Arrays, Baseline, InfantModel

SEED = 1
OTHERS = 50  # recordings of other infants for each, as in the slides
DIAGONAL = "mixture_iclas, diag"
HEADER = (
    f"{'model':22} {'clips':>5} {'infants':>7} {'AUC':>6} {'promised':>8} {'alarms':>6} "
    f"{'recall':>6} {'above own':>9} {'K':>4} {'rank':>5}"
)


@dataclass(frozen=True)
class Run:
    """One model on the first clips of every infant; shares and means are over infants."""

    model: str
    clips: int  # of each baseline
    infants: int
    auc: float  # other infants against own later recordings
    promised: float  # share of infants with a promise
    alarms: float | None  # of own later recordings, of infants with a promise
    recall: float | None  # of other infants' recordings, of the same
    above_own: float  # of own later recordings, above the highest score of the baseline
    components: float | None  # of a mixture
    rank: float | None  # of a component's covariance, directions in which its clips differ


@dataclass(frozen=True)
class _Case:
    """An infant's baseline, own later recordings and those of others."""

    baseline: Baseline
    own: np.ndarray  # [m, dim]
    others: np.ndarray  # [at most OTHERS, dim]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line names and print it."""
    options = _parser().parse_args(arguments)
    os.environ.update({name: "1" for name in ONE_THREAD}, CUDA_VISIBLE_DEVICES="")

    # Only now: the libraries read the variables above when they are imported.
    from crywatch.core import params
    from crywatch.infants.embedded_cries import EmbeddedCries
    from crywatch.infants.fit_infants import FitInfantsConfig

    config = params.section("fit_infants", FitInfantsConfig, options.params)
    store = EmbeddedCries(options.store)
    infants = store.infants(options.parts, config.changed)
    cohort = store.cohort(config.changed)
    cases = {clips: _cases(infants, clips, max(options.clips)) for clips in options.clips}
    runs = (
        measure(_model(name, config, cohort), name, cases[clips], config)
        for clips in options.clips
        for name in options.models
    )
    print_runs(runs, HEADER, _line, options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("data/embed_cries"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--parts", nargs="+", default=["val", "test"])
    parser.add_argument("--clips", type=positive, nargs="+", default=[8, 15, 30, 60], metavar="N")
    models = ["mahalanobis", "mixture", "mixture_iclas", DIAGONAL]
    models += ["one_class_svm", "one_class_svm_nu005", "autoencoder"]
    parser.add_argument("--models", nargs="+", default=models, metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    return parser


def _model(name: str, config: FitInfantsConfig, cohort: Sequence[Baseline]) -> InfantModel:
    from crywatch.infants.models.mixture_iclas import MixtureIclas
    from crywatch.infants.models.registry import build

    if name == DIAGONAL:
        return MixtureIclas(replace(config.settings.mixture_iclas, covariance="diag"), SEED)
    return build(name, config.settings, SEED, cohort)


def _cases(infants: Sequence, clips: int, most: int) -> list[_Case]:
    """Of the infants that have sessions after their first ``most`` clips."""
    import numpy as np

    from crywatch.infants.models.contract import Baseline

    later = []
    for infant in infants:
        known = set(infant.sessions[:most])
        new = np.array([session not in known for session in infant.sessions])
        later.append(infant.vectors[new] if len(infant.vectors) > most else infant.vectors[:0])
    usable = [number for number, vectors in enumerate(later) if len(vectors)]
    cases = []
    for number in usable:
        infant, rng = infants[number], np.random.default_rng([SEED, number])
        others = np.concatenate([later[other] for other in usable if other != number])
        cases.append(
            _Case(
                Baseline(infant.infant_id, infant.vectors[:clips], infant.sessions[:clips]),
                later[number],
                others[rng.permutation(len(others))[:OTHERS]],
            )
        )
    return cases


def measure(model: InfantModel, name: str, cases: Sequence[_Case], config: FitInfantsConfig) -> Run:
    """``model`` calibrated on the baselines of ``cases``."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from crywatch.infants.conformal import calibrate, judge

    baselines = [case.baseline for case in cases]
    calibrated = calibrate(model, baselines, config.conformal)
    own, others = (
        judge(model, calibrated, [getattr(case, kind) for case in cases])
        for kind in ("own", "others")
    )
    fitted = model.fit(baselines)
    inside = model.score(fitted, [baseline.vectors for baseline in baselines])
    new = model.score(fitted, [case.own for case in cases])
    labels = [
        np.repeat([0, 1], [len(a.scores), len(b.scores)]) for a, b in zip(own, others, strict=True)
    ]
    aucs = [
        roc_auc_score(label, np.concatenate([a.scores, b.scores]))
        for label, a, b in zip(labels, own, others, strict=True)
    ]
    promised = np.array([infant.promise.promised for infant in calibrated])

    def alarms(judged: Sequence) -> float | None:
        shares = [j.alarms.mean() for j, kept in zip(judged, promised, strict=True) if kept]
        return float(np.mean(shares)) if shares else None

    return Run(
        model=name,
        clips=len(baselines[0]),
        infants=len(cases),
        auc=float(np.mean(aucs)),
        promised=float(promised.mean()),
        alarms=alarms(own),
        recall=alarms(others),
        above_own=float(np.mean([(n > i.max()).mean() for n, i in zip(new, inside, strict=True)])),
        components=_mean([len(one["weights"]) for one in fitted if "means" in one]),
        rank=_mean([rank for one in fitted for rank in _ranks(one, config)]),
    )


def _ranks(model: Arrays, config: FitInfantsConfig) -> list[int]:
    """Of each component of the slides' mixture: variances above what was added to all."""
    import numpy as np

    if "factors" not in model:
        return []
    floor = 2 * config.settings.mixture_iclas.least_variance
    full = model["factors"].ndim == 3
    roots = [np.linalg.svd(f, compute_uv=False) if full else f for f in model["factors"]]
    return [int((root**-2.0 > floor).sum()) for root in roots]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _line(run: Run) -> str:
    def shown(value: float | None, digits: int, width: int) -> str:
        return f"{'' if value is None else format(value, f'.{digits}f'):>{width}}"

    return (
        f"{run.model:22} {run.clips:5} {run.infants:7} {run.auc:6.3f} {run.promised:8.2f} "
        f"{shown(run.alarms, 3, 6)} {shown(run.recall, 3, 6)} {run.above_own:9.3f} "
        f"{shown(run.components, 1, 4)} {shown(run.rank, 1, 5)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
