"""Stage ``fit_infants``: one kind of model for every infant, its threshold by promise, and a judge.

The infants of the test part are reported; those of the validation part are what models and settings
are chosen on. The cohort of S-norm is the training part. An infant's file holds the model of its
baseline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json, write_text
from crywatch.core.digest import value_sha256
from crywatch.core.threads import one_thread
from crywatch.infants import storage
from crywatch.infants.cohort import SNormalised
from crywatch.infants.config import FitInfantsConfig
from crywatch.infants.contract import Baseline, InfantModel
from crywatch.infants.embedded_cries import EmbeddedCries
from crywatch.infants.evaluation import Evaluation, evaluate
from crywatch.infants.models.registry import build
from crywatch.infants.results import MEANS, InfantRow, Summary, over_twice

REPORTED, CHOSEN_ON = "test", "val"
INFANTS, TABLE, TABLES, METRICS = "infants", "table.csv", "tables.json", "metrics.json"


@dataclass(frozen=True)
class FitInfantsSummary:
    """Both parts' evaluations."""

    model: str
    parts: dict[str, Evaluation]  # of REPORTED and CHOSEN_ON

    def metrics(self) -> dict[str, float]:
        """Flat numbers, the part first: ``test.auc``, ``test.detected.pitch_plus_40_pct``."""
        return {
            f"{part}.{name}": value
            for part, evaluation in self.parts.items()
            for name, value in _metrics(evaluation.summary).items()
        }

    def headline(self) -> dict[str, float]:
        """What the rebuild's run shows too: the rate seen of the one promised, and the worst."""
        found = _metrics(self.parts[REPORTED].summary)
        names = ("rate_promised", "rate_seen", "worst_infant")
        return {f"infants.{name}": found[name] for name in names if name in found}


def maker(model: InfantModel, config: FitInfantsConfig, embedded: str, seed: int) -> str:
    """Digest of all that an infant's stored model depends on beside its own baseline.

    ``embedded`` is the digest of the network and the averaging, as `EmbeddedCries` has it.
    """
    settings = asdict(config.settings)
    cohort = model.digest if isinstance(model, SNormalised) else ""
    own = settings.get(model.name, {})
    return value_sha256([model.name, own, cohort, asdict(config.conformal), embedded, seed])


def build_model(
    name: str, config: FitInfantsConfig, cohort: Sequence[Baseline], seed: int
) -> InfantModel:
    """The model of that name as this stage fits it."""
    return build(name, config.settings, seed, cohort)


@one_thread()
def run(
    name: str, embedded_dir: Path, config: FitInfantsConfig, seed: int, out_dir: Path
) -> FitInfantsSummary:
    """Fit and judge model ``name`` on the infants of the store at ``embedded_dir``.

    Raises ConfigError for an unknown model or a cohort that is too small, TableError for a store
    that is missing or damaged.
    """
    store = EmbeddedCries(embedded_dir)
    model = build_model(name, config, store.cohort(config.changed), seed)
    parts = {
        part: evaluate(
            model, store.infants([part], config.changed), config.conformal, config.evaluation, seed
        )
        for part in (REPORTED, CHOSEN_ON)
    }
    summary = FitInfantsSummary(name, parts)
    made_by = maker(model, config, store.digest, seed)
    with atomic_dir(out_dir) as temp:
        (temp / INFANTS).mkdir()
        for evaluation in parts.values():
            for calibrated in evaluation.calibrated:
                path = temp / INFANTS / storage.file_name(calibrated.infant_id)
                storage.save(path, storage.StoredInfant(calibrated, name, made_by))
        write_text(temp / TABLE, as_table(parts[REPORTED]).to_csv(index=False))
        write_json(temp / TABLES, {"model": name, "parts": _plain(parts)})
        write_json(temp / METRICS, summary.metrics())
    return summary


def as_table(evaluation: Evaluation) -> pd.DataFrame:
    """A row an infant, as the slides have it and beyond; the last two are mean and deviation."""
    frame = pd.DataFrame([_cells(row) for row in evaluation.rows])
    if not len(frame):
        return pd.DataFrame(columns=list(_cells(_NOBODY)))
    numbers = frame.drop(columns=["infant_id", "method", "reason"]).astype(float)
    lines = pd.DataFrame(
        [
            {"infant_id": "mean"} | numbers.mean().to_dict(),
            {"infant_id": "sd"} | numbers.std(ddof=1).to_dict(),
        ]
    )
    return pd.concat([frame, lines], ignore_index=True)[frame.columns]


def _cells(row: InfantRow) -> dict[str, Any]:
    twice = (
        row.promised
        and row.test_clips
        and over_twice(row.alarms, row.test_clips, row.rate_promised)
    )
    return {
        "infant_id": row.infant_id,
        "recordings": row.recordings,
        "baseline_clips": row.baseline_clips,
        "test_clips": row.test_clips,
        "auc": row.auc,
        "average_precision": row.average_precision,
        "f1": row.f1,
        "recall": row.recall,
        "fpr": row.false_alarm_rate,
        "fpr_low": row.false_alarm_low,
        "fpr_high": row.false_alarm_high,
        "promised": row.rate_promised,
        "method": row.method,
        "reason": row.reason,
        "over_twice": float(bool(twice)) if row.promised else None,
        **{f"detected {name}": share for name, share in row.detected.items()},
        **{f"detected {name}": share for name, share in row.changed.items()},
    }


_NOBODY = InfantRow(
    infant_id="", recordings=0, baseline_clips=0, baseline_sessions=0, test_clips=0,
    test_sessions=0, positives=0, auc=None, average_precision=None, f1=None, recall=None,
    false_alarm_rate=None, false_alarm_low=None, false_alarm_high=None, method="", promised=False,
    rate_promised=None, rate_expected=None, rate_reachable=1.0, reason="", alarms=0,
)  # fmt: skip


def _metrics(summary: Summary) -> dict[str, float]:
    found: dict[str, float | None] = {"infants": summary.infants, "promised": summary.promised}
    for name in MEANS:
        if name in summary.means:
            found[name] = summary.means[name].mean
            found[f"{name}_sd"] = summary.means[name].deviation
    for name in ("rate_promised", "rate_seen", "rate_pooled", "over_twice", "over_twice_by_chance"):
        found[name] = getattr(summary, name)
    found["worst_infant"] = summary.worst
    for group in ("detected", "controls", "changed"):
        shares = getattr(summary, group)
        found |= {f"{group}.{_metric_name(name)}": mean.mean for name, mean in shares.items()}
    return {name: float(value) for name, value in found.items() if value is not None}


def _metric_name(shift: str) -> str:
    """The tracking store's names have no ``+`` and no ``%``."""
    words = shift.replace("+", "plus ").replace(" -", " minus ").replace("%", "pct")
    return re.sub(r"[^\w.-]+", "_", words)


def _plain(parts: dict[str, Evaluation]) -> dict[str, Any]:
    return {
        part: {
            "summary": asdict(evaluation.summary),
            "rows": [asdict(row) for row in evaluation.rows],
            "unusable": [asdict(one) for one in evaluation.unusable],
        }
        for part, evaluation in parts.items()
    }
