"""Each infant from its baseline on, recording after recording.

An infant's earlier sessions are its baseline; what followed is scored in the order of time, and the
gate decides what moves the baseline. The same is done without the gate, and with the first model
left as it is, so that what the gate is worth stands beside what it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json
from crywatch.core.errors import ConfigError
from crywatch.data.tables import PARTS, write_table
from crywatch.data.tables.infants import BANDS, FOLLOWED, is_changed
from crywatch.infants import gate as gates
from crywatch.infants.conformal import ConformalConfig, calibration_rows
from crywatch.infants.embedded_cries import NO_SESSION, EmbeddedCries
from crywatch.infants.estimates import Estimate
from crywatch.infants.evaluation.baselines import UnusableInfant
from crywatch.infants.evaluation.division import DivisionConfig, divide
from crywatch.infants.gate import BaselineGate
from crywatch.infants.models.contract import Baseline, InfantModel
from crywatch.infants.models.registry import ModelsConfig, build
from crywatch.infants.updating import (
    FollowedInfant,
    Follower,
    InfantState,
    NormalBand,
    Observation,
    Refit,
    UpdatingConfig,
    held_since,
)

TABLE, BANDS_TABLE, METRICS = "followed.parquet", "bands.parquet", "metrics.json"
GATED, UNGATED, FROZEN = "gated", "ungated", "frozen"
BASELINE, NEW = "baseline", "new"
WITHDRAWN = "held: accepted first, withdrawn when too many recordings alarmed"


@dataclass
class FollowConfig:
    """Section ``follow``."""

    model: str  # of `crywatch.infants.models.registry.MODELS`
    parts: list[str]  # of infants
    changed: list[str]  # beginnings of categories of recordings that are known to be abnormal
    updating: UpdatingConfig

    def __post_init__(self) -> None:
        if not self.parts or (unknown := sorted(set(self.parts) - set(PARTS))):
            raise ConfigError(
                f"timeline.follow.parts {self.parts} must be of {', '.join(PARTS)}"
                + (f", not {', '.join(unknown)}" if self.parts else "")
            )


@dataclass(frozen=True)
class Infant:
    """One infant's recordings in the order of time: those of its baseline, and what came after."""

    infant_id: str
    part: str
    known: pd.DataFrame  # rows of table recordings
    coming: pd.DataFrame
    baseline: Baseline
    new: tuple[Observation, ...]
    changed: np.ndarray  # [new] bool: known to be abnormal


@dataclass(frozen=True)
class FollowedRow:
    """One infant under one way of updating."""

    infant_id: str
    part: str
    way: str  # gated, ungated, frozen
    recordings: int  # new ones that are not changed
    alarms: int
    false_alarm_rate: float | None  # None where no rate is promised
    changed: int
    changed_alarms: int
    detected: float | None  # share of the changed recordings that alarmed
    versions: int  # that were made
    accepted: float | None  # share of the unchanged ones; None without any
    accepted_changed: float | None
    held_since: str | None  # ISO 8601, where the stream ends with too many alarms


@dataclass(frozen=True)
class FollowSummary:
    """What following was found to do."""

    model: str
    rate: float  # of false alarms, promised
    rows: tuple[FollowedRow, ...]
    unusable: tuple[UnusableInfant, ...]
    refused: dict[str, int]  # recordings by the gate's reason
    means: dict[str, dict[str, dict[str, Estimate]]]  # part to way to measure

    def headline(self) -> dict[str, float]:
        """False alarms and detections of part test, with the gate."""
        found = self.means.get("test", {}).get(GATED, {})
        return {f"followed_{name}": estimate.mean for name, estimate in found.items()}


def follow_infants(
    embedded_dir: Path,
    gate_dir: Path,
    config: FollowConfig,
    conformal: ConformalConfig,
    division: DivisionConfig,
    settings: ModelsConfig,
    seed: int,
    out_dir: Path,
) -> FollowSummary:
    """Write followed.parquet and bands.parquet (with the gate) and metrics.json."""
    store = EmbeddedCries(embedded_dir)
    model = build(config.model, settings, seed, store.cohort(config.changed))
    infants, unusable = divide_infants(store, config.parts, config.changed, division)
    rows: list[FollowedRow] = []
    tables: list[pd.DataFrame] = []
    bands: list[NormalBand] = []
    refused: Counter[str] = Counter()
    for way, follower in followers(
        model, gates.load(gate_dir, store.digest), conformal, config.updating
    ).items():
        states = follower.start([infant.baseline for infant in infants])
        ends = follower.observe(states, [infant.new for infant in infants])
        for infant, state, followed in zip(infants, states, ends, strict=True):
            rows.append(_row(way, infant, state, followed))
            if way == GATED:
                tables.append(followed_table(infant, state, followed, conformal))
                bands += [
                    NormalBand.of(version)
                    for version in _versions(infant, state, followed)
                    if len(version.calibrated.scores)  # else nothing is known to be normal
                ]
                refused.update(
                    outcome.reason.split(":")[0] for outcome in followed.outcomes if outcome.reason
                )
    summary = FollowSummary(
        model=model.name,
        rate=conformal.rate,
        rows=tuple(rows),
        unusable=tuple(unusable),
        refused=dict(sorted(refused.items())),
        means=_means(rows),
    )
    with atomic_dir(out_dir) as temp:
        followed = pd.concat(tables) if tables else pd.DataFrame(columns=list(FOLLOWED.columns))
        write_table(followed, temp / TABLE, FOLLOWED)
        write_table(
            pd.DataFrame(list(map(asdict, bands)), columns=list(BANDS.columns)),
            temp / BANDS_TABLE,
            BANDS,
        )
        write_json(temp / METRICS, asdict(summary))
    return summary


def followers(
    model: InfantModel, gate: BaselineGate, conformal: ConformalConfig, updating: UpdatingConfig
) -> dict[str, Follower]:
    """The three ways: with the gate, with everything let in, and never fitted again."""
    frozen = replace(updating, refit_after=0)
    return {
        GATED: Follower(model, gate, conformal, updating),
        UNGATED: Follower(model, None, conformal, updating),
        FROZEN: Follower(model, None, conformal, frozen),
    }


def divide_infants(
    store: EmbeddedCries,
    parts: Sequence[str],
    changed: Sequence[str],
    division: DivisionConfig,
) -> tuple[list[Infant], list[UnusableInfant]]:
    """The infants of ``parts`` that have a baseline and something after it, by name.

    Changed recordings are in no baseline; one that is earlier than its end is left out.
    """
    frame = store.recordings
    frame = frame[frame["split"].isin(list(parts))]
    order = ["infant_id", "recorded_at", "clip_id"]
    infants, unusable = [], []
    for name, rows in frame.sort_values(order, kind="stable").groupby("infant_id", sort=True):
        infant_id = str(name)
        abnormal = is_changed(rows, changed)
        normal = rows[~abnormal]
        sessions = normal["session_id"].fillna(NO_SESSION).to_numpy(dtype=str)
        cut = divide(sessions, normal["recorded_at"].dt.tz_convert(None).to_numpy(), division)
        if not cut.usable:
            unusable.append(UnusableInfant(infant_id, len(normal), cut.reason))
            continue
        known = normal.iloc[cut.baseline]
        test = rows.index.isin(normal.index[cut.test])
        late = (rows["recorded_at"] > known["recorded_at"].max()).to_numpy(dtype=bool)
        kept = test | (abnormal & late)
        coming = rows[kept]
        infants.append(
            Infant(
                infant_id=infant_id,
                part=str(rows["split"].iloc[0]),
                known=known,
                coming=coming,
                baseline=Baseline(
                    infant_id, store.vectors[known.index.to_numpy()], sessions[cut.baseline]
                ),
                new=tuple(
                    Observation(
                        row.clip_id,
                        row.session_id,
                        row.recorded_at.to_pydatetime(warn=False),
                        store.vectors[row.Index],
                    )
                    for row in coming.itertuples()
                ),
                changed=abnormal[kept],
            )
        )
    return infants, unusable


def followed_table(
    infant: Infant, state: InfantState, followed: FollowedInfant, conformal: ConformalConfig
) -> pd.DataFrame:
    """Table ``followed`` of one infant; ``state`` is the one that it started with."""
    calibrated = np.full(len(infant.known), np.nan)
    calibrated[calibration_rows(infant.baseline.sessions, conformal)] = state.calibrated.scores
    withdrawn = set(followed.withdrawn)
    rows = [
        {
            "clip_id": row.clip_id,
            "session_id": row.session_id,
            "recorded_at": row.recorded_at,
            "phase": BASELINE,
            "score": score,
            "p": None,
            "alarm": False,
            "accepted": True,
            "reason": None,
            "version": 0,
            "remark": None,
        }
        for row, score in zip(infant.known.itertuples(), calibrated, strict=True)
    ]
    remarks = infant.coming["category"].where(infant.changed, None)
    for outcome, remark in zip(followed.outcomes, remarks, strict=True):
        row = asdict(outcome) | {"phase": NEW, "remark": remark}
        if outcome.clip_id in withdrawn:
            row |= {"accepted": False, "reason": WITHDRAWN}
        rows.append(row)
    return pd.DataFrame(rows).assign(infant_id=infant.infant_id)[list(FOLLOWED.columns)]


def _versions(infant: Infant, state: InfantState, followed: FollowedInfant) -> list[Refit]:
    since = infant.known["recorded_at"].iloc[0].to_pydatetime(warn=False)
    return [Refit(0, since, state.calibrated, state.baseline), *followed.refits]


def _row(way: str, infant: Infant, state: InfantState, followed: FollowedInfant) -> FollowedRow:
    outcomes, changed = followed.outcomes, infant.changed
    withdrawn = np.isin([outcome.clip_id for outcome in outcomes], followed.withdrawn)
    alarms = np.array([outcome.alarm for outcome in outcomes], dtype=bool)
    accepted = np.array([outcome.accepted for outcome in outcomes], dtype=bool) & ~withdrawn
    promised = state.calibrated.promise.promised

    def share(values: np.ndarray, rows: np.ndarray, known: bool = True) -> float | None:
        return float(values[rows].mean()) if known and rows.any() else None

    return FollowedRow(
        infant_id=infant.infant_id,
        part=infant.part,
        way=way,
        recordings=int((~changed).sum()),
        alarms=int(alarms[~changed].sum()),
        false_alarm_rate=share(alarms, ~changed, promised),
        changed=int(changed.sum()),
        changed_alarms=int(alarms[changed].sum()),
        detected=share(alarms, changed, promised),
        versions=followed.state.version,
        accepted=share(accepted, ~changed),
        accepted_changed=share(accepted, changed),
        held_since=since.isoformat() if (since := held_since(outcomes)) else None,
    )


def _means(rows: Sequence[FollowedRow]) -> dict[str, dict[str, dict[str, Estimate]]]:
    names = ("false_alarm_rate", "detected", "versions", "accepted", "accepted_changed")
    out: dict[str, dict[str, dict[str, Estimate]]] = {}
    for part in dict.fromkeys(row.part for row in rows):
        for way in dict.fromkeys(row.way for row in rows):
            own = [row for row in rows if row.part == part and row.way == way]
            out.setdefault(part, {})[way] = estimates = {}
            for name in names:
                values = [getattr(row, name) for row in own]
                if (estimate := Estimate.of(values, share=name != "versions")) is not None:
                    estimates[name] = estimate
    return out
