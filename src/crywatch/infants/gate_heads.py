"""The gate's training: two linear heads on the backbone's embedding, and what they are worth.

The heads learn on part train; part val chooses their thresholds, val and train (each infant judged
by a head that never heard it) whether they are used at all; test is reported. Where val lacks a
class, train stands in for it. All AUCs have intervals over infants (clips, where there is none).
Every recording's probability is kept, with ROC curves and histograms of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from crywatch.core.atomic import atomic_dir, write_json, write_text
from crywatch.core.charts import save_svg
from crywatch.core.errors import ConfigError
from crywatch.data.tables.infants import is_changed
from crywatch.infants import gate as gates
from crywatch.infants import gate_figures
from crywatch.infants.embedded_cries import EmbeddedCries
from crywatch.infants.gate import CRY, DISTRESS, BaselineGate, Head
from crywatch.metrics.intervals import group_bootstrap

METRICS = "metrics.json"
CHARTS, SCORES = "charts", "scores.csv"  # a folder below the gate's own, and what it holds
SCORE_COLUMNS = ["head", "part", "positive", "probability", "threshold"]
CROSS_VALIDATED = "train, cross-validated"
POOLED = "pooled"


@dataclass
class GateConfig:
    """Section ``gate``."""

    distress: list[str]  # categories
    calm: list[str]
    refused_cries: float  # share of val's cries that the cry head may refuse, at most
    refused_calm: float  # share of val's calm cries that the distress head may refuse, at most
    least_auc: float  # a head is used if its AUC's interval is above it, on val and within train
    least_p: float  # of a recording that enters a baseline
    inverse_penalty: float  # C of the logistic regression
    folds: int  # of the cross-validation by infant

    def __post_init__(self) -> None:
        shares = self.refused_cries, self.refused_calm, self.least_p
        if min(shares) < 0 or max(shares) >= 1 or self.inverse_penalty <= 0 or self.folds < 2:
            raise ConfigError(
                "fit_infants.gate: refused_cries, refused_calm and least_p must be from 0 to "
                "below 1, inverse_penalty above 0 and folds at least 2"
            )
        if both := sorted(set(self.distress) & set(self.calm)):
            raise ConfigError(f"fit_infants.gate: {', '.join(both)} is both distress and calm")


@dataclass(frozen=True)
class LabelledRecordings:
    """Recordings with the label that a head is to tell."""

    vectors: np.ndarray  # [n, dim]
    labels: np.ndarray  # [n] bool: a cry; distress
    groups: np.ndarray  # [n], the infant, or the clip where there is none
    parts: np.ndarray  # [n]
    corpora: np.ndarray  # [n]

    def only(self, rows: np.ndarray) -> LabelledRecordings:
        """The recordings of a mask."""
        return LabelledRecordings(
            *(getattr(self, name)[rows] for name in self.__dataclass_fields__)
        )

    @property
    def both(self) -> bool:
        """Whether each class has two groups, so that an AUC with an interval can be had."""
        return all(len(set(self.groups[self.labels == value])) > 1 for value in (False, True))


@dataclass(frozen=True)
class HeadRow:
    """One head on one part and scope."""

    head: str
    part: str
    scope: str  # pooled, or a corpus that has both classes
    positives: int  # cries; distress
    negatives: int
    positive_groups: int
    negative_groups: int
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    passed_right: float | None  # share of cries, or of calm, that the head lets pass
    passed_wrong: float | None  # share of other sounds, or of distress


@dataclass(frozen=True)
class HeadDecision:
    """Whether a head is used, and why."""

    on: bool
    reason: str
    chosen_on: str  # the part of threshold and decision; empty where it could not be trained
    threshold: float | None


@dataclass(frozen=True)
class GateSummary:
    """What was trained."""

    heads: dict[str, HeadDecision]
    rows: tuple[HeadRow, ...]
    shared_corpora: tuple[str, ...]  # that hold cries and other sounds, of train

    def headline(self) -> dict[str, float]:
        """AUC of each head on part test, pooled."""
        return {
            f"gate_{row.head}_auc": row.auc
            for row in self.rows
            if row.part == "test" and row.scope == POOLED and row.auc is not None
        }


@dataclass(frozen=True)
class TrainedHead:
    """A head, and all that was measured of it."""

    head: Head | None  # None where it is off
    decision: HeadDecision
    rows: list[HeadRow]
    scores: pd.DataFrame  # a row a recording, columns `SCORE_COLUMNS`


def train_gate(
    store: EmbeddedCries, config: GateConfig, changed: Sequence[str], seed: int, out_dir: Path
) -> GateSummary:
    """Train both heads on the recordings of ``store`` and write the gate to ``out_dir``.

    Nothing is learnt from recordings whose category begins with one of ``changed``.
    """
    data = {CRY: cry_data(store, changed), DISTRESS: distress_data(store, config, changed)}
    trained = {name: train_head(name, part, config, seed) for name, part in data.items()}
    train = data[CRY].only(data[CRY].parts == "train")
    shared = set(train.corpora[train.labels]) & set(train.corpora[~train.labels])
    summary = GateSummary(
        heads={name: head.decision for name, head in trained.items()},
        rows=tuple(row for head in trained.values() for row in head.rows),
        shared_corpora=tuple(sorted(shared)),
    )
    gate = BaselineGate(trained[CRY].head, trained[DISTRESS].head, config.least_p)
    scores = pd.concat([head.scores for head in trained.values()], ignore_index=True)
    learned_on = {"network": store.info.network, "digest": store.digest, "dim": store.info.dim}
    with atomic_dir(out_dir) as temp:
        gates.save(temp, gate, learned_on)
        write_json(temp / METRICS, asdict(summary))
        charts = temp / CHARTS
        charts.mkdir()
        write_text(charts / SCORES, scores.to_csv(index=False, float_format="%.6f"))
        save_svg(gate_figures.roc_figure(scores), charts / gate_figures.ROC)
        save_svg(gate_figures.score_figure(scores), charts / gate_figures.SCORES)
    return summary


def cry_data(store: EmbeddedCries, changed: Sequence[str]) -> LabelledRecordings:
    """Cries against clips without one."""
    normal = ~is_changed(store.recordings, changed)
    cries, others = store.recordings[normal], store.others
    return LabelledRecordings(
        vectors=np.concatenate([store.vectors[normal], store.other_vectors]),
        labels=np.repeat([True, False], [len(cries), len(others)]),
        groups=np.array([*cries["infant_id"], *others["clip_id"]], dtype=object),
        parts=np.array([*cries["split"], *others["split"]], dtype=object),
        corpora=np.array([*cries["corpus"], *others["corpus"]], dtype=object),
    )


def distress_data(
    store: EmbeddedCries, config: GateConfig, changed: Sequence[str]
) -> LabelledRecordings:
    """Cries of the categories that say distress, against those that say calm."""
    category = store.recordings["category"]
    rows = ~is_changed(store.recordings, changed)
    rows &= category.isin([*config.distress, *config.calm]).to_numpy(dtype=bool)
    cries = store.recordings[rows]
    return LabelledRecordings(
        vectors=store.vectors[rows],
        labels=cries["category"].isin(config.distress).to_numpy(dtype=bool),
        groups=cries["infant_id"].to_numpy(dtype=object),
        parts=cries["split"].to_numpy(dtype=object),
        corpora=cries["corpus"].to_numpy(dtype=object),
    )


def train_head(name: str, data: LabelledRecordings, config: GateConfig, seed: int) -> TrainedHead:
    """Learn on part train, choose the threshold, and measure on every part."""
    train = data.only(data.parts == "train")
    if not train.both:
        reason = (
            f"nothing to learn from: part train has {int(train.labels.sum())} of it in "
            f"{len(train.labels)} recordings, each class needs two infants or clips"
        )
        decision = HeadDecision(False, reason, "", None)
        none = data.only(np.zeros(len(data.labels), dtype=bool))
        return TrainedHead(None, decision, [], _scores(name, "", none, np.zeros(0), 0.0))
    head = fit(train, config, seed)
    scored = {CROSS_VALIDATED: (train, _cross_validated(train, config, seed))}
    for part in ("val", "test"):
        own = data.only(data.parts == part)
        scored[part] = (own, head.probability(own.vectors))
    chosen_on = "val" if scored["val"][0].both else CROSS_VALIDATED
    threshold = _threshold(name, *scored[chosen_on], config)
    rows = [
        _row(name, part, scope, own.only(kept), probability[kept], threshold, seed)
        for part, (own, probability) in scored.items()
        for scope, kept in _scopes(own)
    ]
    scores = pd.concat(
        [_scores(name, part, own, p, threshold) for part, (own, p) in scored.items()],
        ignore_index=True,
    )
    # The infants of val are few, and the bootstrap over few says too much: train must agree.
    decisive = [
        row for row in rows if row.part in (chosen_on, CROSS_VALIDATED) and row.scope == POOLED
    ]
    text = " and ".join(
        f"{row.auc:.3f} ({row.auc_low:.3f} to {row.auc_high:.3f}) on {row.part}"
        for row in decisive
        if row.auc is not None
    )
    if min(row.auc_low for row in decisive if row.auc_low is not None) <= config.least_auc:
        reason = f"AUC {text}, not surely above {config.least_auc:g}: it would refuse at random"
        return TrainedHead(None, HeadDecision(False, reason, chosen_on, threshold), rows, scores)
    decision = HeadDecision(True, f"AUC {text}", chosen_on, threshold)
    return TrainedHead(replace(head, threshold=threshold), decision, rows, scores)


def _scores(
    name: str, part: str, data: LabelledRecordings, probability: np.ndarray, threshold: float
) -> pd.DataFrame:
    columns = (name, part, data.labels, probability, threshold)
    return pd.DataFrame(dict(zip(SCORE_COLUMNS, columns, strict=True)), columns=SCORE_COLUMNS)


def fit(data: LabelledRecordings, config: GateConfig, seed: int) -> Head:
    """Logistic regression, classes weighted alike; its threshold is not chosen yet."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=config.inverse_penalty, class_weight="balanced", max_iter=1000, random_state=seed
    )
    # Numbers of unit vectors are near 1 / sqrt(dim): at a deviation of 1 the penalty is what the
    # field is used to. The scale goes into the weights.
    scale = np.sqrt(data.vectors.shape[1])
    model.fit(data.vectors.astype(float) * scale, data.labels)
    weights = (model.coef_[0] * scale).astype(np.float32)
    return Head(weights, float(model.intercept_[0]), 0.5)


def _cross_validated(data: LabelledRecordings, config: GateConfig, seed: int) -> np.ndarray:
    """P [n] of each recording by a head that heard no recording of its group."""
    from sklearn.model_selection import StratifiedGroupKFold

    smallest = min(len(set(data.groups[data.labels == value])) for value in (False, True))
    folds = StratifiedGroupKFold(
        max(2, min(config.folds, smallest)), shuffle=True, random_state=seed
    )
    # A fold whose rest lacks a class has no head: it says nothing.
    probability = np.full(len(data.labels), 0.5)
    for rest, fold in folds.split(data.vectors, data.labels, data.groups):
        part = data.only(rest)
        if part.labels.any() and not part.labels.all():
            probability[fold] = fit(part, config, seed).probability(data.vectors[fold])
    return probability


def _threshold(
    name: str, data: LabelledRecordings, probability: np.ndarray, config: GateConfig
) -> float:
    """It refuses the configured share of what should pass, or less where the classes lie apart.

    Then it is half way (in logits) to as large a share of what should be refused: infants that the
    head never heard, or that grow older, are not refused for the sake of a border without need.
    """
    right, share = (
        (data.labels, config.refused_cries) if name == CRY else (~data.labels, config.refused_calm)
    )
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    # With the sign turned for distress both heads let pass what is high.
    logits = np.log(clipped / (1 - clipped)) * (1 if name == CRY else -1)
    passing = float(np.quantile(logits[right], share, method="lower"))
    refused = float(np.quantile(logits[~right], 1 - share, method="higher"))
    border = (passing + refused) / 2 if refused < passing else passing
    return float(1 / (1 + np.exp(-border * (1 if name == CRY else -1))))


def _scopes(data: LabelledRecordings) -> list[tuple[str, np.ndarray]]:
    """Everything, and each corpus that has both classes, if there are several corpora."""
    scopes = [(POOLED, np.ones(len(data.labels), dtype=bool))]
    corpora = sorted(set(data.corpora))
    for corpus in corpora if len(corpora) > 1 else ():
        rows = data.corpora == corpus
        if len(set(data.labels[rows])) == 2:
            scopes.append((corpus, rows))
    return scopes


def _row(
    name: str,
    part: str,
    scope: str,
    data: LabelledRecordings,
    probability: np.ndarray,
    threshold: float,
    seed: int,
) -> HeadRow:
    from sklearn.metrics import roc_auc_score

    labels, n = data.labels, int(data.labels.sum())
    two = 0 < n < len(labels)
    intervals = group_bootstrap(labels, probability, data.groups, seed)
    passed = probability >= threshold if name == CRY else probability <= threshold
    right, wrong = (labels, ~labels) if name == CRY else (~labels, labels)
    return HeadRow(
        head=name,
        part=part,
        scope=scope,
        positives=n,
        negatives=len(labels) - n,
        positive_groups=len(set(data.groups[labels])),
        negative_groups=len(set(data.groups[~labels])),
        auc=float(roc_auc_score(labels, probability)) if two else None,
        auc_low=intervals.auc_low,
        auc_high=intervals.auc_high,
        passed_right=float(passed[right].mean()) if right.any() else None,
        passed_wrong=float(passed[wrong].mean()) if wrong.any() else None,
    )
