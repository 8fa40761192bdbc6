"""Stage ``fit_infants``: the gate, and every infant's models with their promised thresholds.

The infants of the test part are reported; those of the validation part are what models and settings
are chosen on. The cohort of S-norm is the training part. An infant's file holds the model of its
baseline.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json, write_text
from crywatch.core.digest import value_sha256
from crywatch.core.errors import ConfigError
from crywatch.data.tables.infants import is_changed
from crywatch.infants import storage
from crywatch.infants.conformal import ConformalConfig
from crywatch.infants.embedded_cries import COHORT, EmbeddedCries
from crywatch.infants.evaluation.baselines import EvaluationConfig, ModelEvaluation, evaluate
from crywatch.infants.evaluation.results import InfantResult, ModelSummary, over_twice
from crywatch.infants.evaluation.states import (
    MEASURES,
    StatesConfig,
    StatesRow,
    find,
)
from crywatch.infants.evaluation.states import evaluate as evaluate_states
from crywatch.infants.gate_heads import GateConfig, GateSummary, train_gate
from crywatch.infants.models.cohort import SNormalised
from crywatch.infants.models.contract import Baseline, InfantModel
from crywatch.infants.models.registry import MODELS, ModelsConfig, build
from crywatch.speaker.logmel import KIND as LOGMEL

REPORTED, CHOSEN_ON = "test", "val"
GATE = "gate"  # its folder, beside those of the models
INFANTS, TABLE, TABLES, METRICS = "infants", "table.csv", "tables.json", "metrics.json"
STATES = "states.json"  # beside the models' folders
# Columns of table.csv, and what of an `InfantResult` they hold.
_COLUMNS = {
    "infant_id": "infant_id",
    "recordings": "recordings",
    "baseline_clips": "baseline_clips",
    "test_clips": "test_clips",
    "auc": "auc",
    "average_precision": "average_precision",
    "f1": "f1",
    "recall": "recall",
    "fpr": "false_alarm_rate",
    "fpr_low": "false_alarm_low",
    "fpr_high": "false_alarm_high",
    "promised": "rate_promised",
    "method": "method",
    "reason": "reason",
}
_OVER_TWICE = "over_twice"


@dataclass(frozen=True)
class FitInfantsConfig:
    """Section ``fit_infants``: the gate, and the models of stage 2, calibrated and judged.

    Sections inside are not frozen: OmegaConf merges into them.
    """

    models: list[str]  # of `crywatch.infants.models.registry.MODELS`
    default: str  # the one that the report shows infant by infant
    changed: list[str]  # beginnings of the categories of recordings that are known to be abnormal
    gate: GateConfig
    settings: ModelsConfig
    conformal: ConformalConfig
    evaluation: EvaluationConfig
    states: StatesConfig
    workers: int  # processes

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.models, self.default) if name not in MODELS]
        if unknown or self.default not in self.models:
            raise ConfigError(
                f"fit_infants: models {list(self.models)} and default {self.default!r}: the "
                f"default must be one of the models, and these of {', '.join(MODELS)}"
            )


@dataclass(frozen=True)
class ModelFit:
    """One kind of model: both parts' evaluations."""

    model: str
    parts: dict[str, ModelEvaluation]  # of REPORTED and CHOSEN_ON

    def metrics(self) -> dict[str, float]:
        """Flat numbers, the part first: ``test.auc``, ``test.detected.pitch_plus_40_pct``."""
        return {
            f"{part}.{name}": value
            for part, evaluation in self.parts.items()
            for name, value in _metrics(evaluation.summary).items()
        }

    def headline(self) -> dict[str, float]:
        """What the rebuild's run shows too: the rate seen of the one promised, and the worst."""
        metrics = _metrics(self.parts[REPORTED].summary)
        names = ("rate_promised", "rate_seen", "worst_infant")
        return {f"infants.{name}": metrics[name] for name in names if name in metrics}


def maker(model: InfantModel, config: FitInfantsConfig, embedded: str, seed: int) -> str:
    """Digest of all that an infant's stored model depends on beside its own baseline.

    ``embedded`` is the digest of the network and the averaging, as `EmbeddedCries` has it.
    """
    settings = asdict(config.settings)
    cohort = model.digest if isinstance(model, SNormalised) else ""
    own = settings.get(model.name, {})
    return value_sha256([model.name, own, cohort, asdict(config.conformal), embedded, seed])


@dataclass(frozen=True)
class FitInfantsSummary:
    """What the stage made."""

    gate: GateSummary
    models: dict[str, ModelFit]
    states: list[StatesRow]

    def state_metrics(self) -> dict[str, float]:
        """``states.<part>.<corpus>.<baseline>_<other>.<vectors>.<model>.<measure>``."""
        return {
            _metric_name(
                f"states.{row.part}.{row.corpus}.{row.baseline}_{row.other}.{row.vectors}."
                f"{row.model}.{measure}"
            ): value
            for row in self.states
            for measure in MEASURES
            if (value := getattr(row, measure)) is not None
        }


def run(
    embedded_dir: Path, config: FitInfantsConfig, seed: int, out_dir: Path
) -> FitInfantsSummary:
    """Write the gate and a folder a model, of the infants of the store at ``embedded_dir``.

    Raises ConfigError for a cohort that is too small, TableError for a store that is missing or
    damaged. The number of processes changes only the time.
    """
    from joblib import Parallel, delayed

    store = EmbeddedCries(embedded_dir)
    with atomic_dir(out_dir) as temp:
        work: list[tuple] = [
            (fit, name, store, config, seed, temp / name) for name in config.models
        ]
        work.append((train_gate, store, config.gate, config.changed, seed, temp / GATE))
        parallel = Parallel(n_jobs=min(config.workers, len(work)))
        *fits, gate = parallel(delayed(_on_one_thread)(*call) for call in work)
        tables = parallel(
            delayed(_on_one_thread)(in_two_states, name, vectors, store, config, seed)
            for vectors in dict.fromkeys((store.info.network, LOGMEL))
            for name in config.models
        )
        states = [row for rows in tables for row in rows]
        write_json(temp / STATES, [asdict(row) for row in states])
    return FitInfantsSummary(gate, dict(zip(config.models, fits, strict=True)), states)


def in_two_states(
    name: str, network: str, store: EmbeddedCries, config: FitInfantsConfig, seed: int
) -> list[StatesRow]:
    """Model ``name`` on the vectors of the store's network, or on its log-mel statistics."""
    recordings = store.recordings
    infants = find(recordings, (CHOSEN_ON, REPORTED), config.states)
    if not infants:
        return []
    vectors = store.vectors if network == store.info.network else store.statistics
    normal = ~is_changed(recordings, config.changed) & recordings["split"].isin(COHORT)
    cohort = [
        Baseline(str(infant), vectors[rows.index], rows["session_id"].fillna("").to_numpy(str))
        for infant, rows in recordings[normal].groupby("infant_id", sort=True)
    ]
    model = build(name, config.settings, seed, cohort)
    return evaluate_states(model, vectors, network, infants, config.conformal, config.states)


def _on_one_thread(function: Callable[..., Any], *args: Any) -> Any:
    """As many threads as the machine has sum in an order of their own."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return function(*args)


def fit(
    name: str, store: EmbeddedCries, config: FitInfantsConfig, seed: int, out_dir: Path
) -> ModelFit:
    """Fit and judge model ``name`` on the infants of ``store``, and write it to ``out_dir``."""
    model = build(name, config.settings, seed, store.cohort(config.changed))
    parts = {
        part: evaluate(
            model, store.infants([part], config.changed), config.conformal, config.evaluation, seed
        )
        for part in (REPORTED, CHOSEN_ON)
    }
    summary = ModelFit(name, parts)
    made_by = maker(model, config, store.digest, seed)
    with atomic_dir(out_dir) as temp:
        (temp / INFANTS).mkdir()
        for evaluation in parts.values():
            for calibrated in evaluation.calibrated:
                path = temp / INFANTS / storage.file_name(calibrated.infant_id)
                storage.save(path, storage.StoredInfant(calibrated, name, made_by))
        write_text(temp / TABLE, as_table(parts[REPORTED]).to_csv(index=False))
        write_json(
            temp / TABLES,
            {"model": name, "parts": {part: _plain(one) for part, one in parts.items()}},
        )
        write_json(temp / METRICS, summary.metrics())
    return summary


def as_table(evaluation: ModelEvaluation) -> pd.DataFrame:
    """A row an infant, as the slides have it and beyond; the last two are mean and deviation."""
    frame = pd.DataFrame([_cells(row) for row in evaluation.rows])
    if not len(frame):
        return pd.DataFrame(columns=[*_COLUMNS, _OVER_TWICE])
    numbers = frame.drop(columns=["infant_id", "method", "reason"]).astype(float)
    lines = pd.DataFrame([numbers.mean(), numbers.std(ddof=1)]).assign(infant_id=["mean", "sd"])
    return pd.concat([frame, lines], ignore_index=True)[frame.columns]


def _cells(row: InfantResult) -> dict[str, Any]:
    cells = {column: getattr(row, name) for column, name in _COLUMNS.items()}
    cells[_OVER_TWICE] = None
    if row.rate_promised is not None:
        cells[_OVER_TWICE] = float(over_twice(row.alarms, row.test_clips, row.rate_promised))
    shares = row.detected | row.changed
    return cells | {f"detected {name}": share for name, share in shares.items()}


def _metrics(summary: ModelSummary) -> dict[str, float]:
    metrics: dict[str, float | None] = {"infants": summary.infants, "promised": summary.promised}
    for name, mean in summary.means.items():
        metrics |= {name: mean.mean, f"{name}_sd": mean.deviation}
    for name in ("rate_promised", "rate_seen", "rate_pooled", "over_twice", "over_twice_by_chance"):
        metrics[name] = getattr(summary, name)
    metrics["worst_infant"] = summary.worst
    for group in ("detected", "controls", "changed"):
        shares = getattr(summary, group)
        metrics |= {f"{group}.{_metric_name(name)}": mean.mean for name, mean in shares.items()}
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _metric_name(shift: str) -> str:
    """The tracking store's names have no ``+`` and no ``%``."""
    words = shift.replace("+", "plus ").replace(" -", " minus ").replace("%", "pct")
    return re.sub(r"[^\w.-]+", "_", words)


def _plain(evaluation: ModelEvaluation) -> dict[str, Any]:
    return {
        "summary": asdict(evaluation.summary),
        "rows": [asdict(row) for row in evaluation.rows],
        "unusable": [asdict(infant) for infant in evaluation.unusable],
    }
