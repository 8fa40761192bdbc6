"""Recent recordings against a reference: tests, distances, and a sentence on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.operations.drift.measures import EMBEDDING, SCALARS, DriftConfig, Scalar

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
COMPONENTS = 16  # of the embeddings, that the classifier sees
FOLDS = 10


@dataclass(frozen=True)
class Spread:
    """A distribution in five numbers: the quantiles of `SHARES`."""

    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        """The third."""
        return self.quantiles[2]


@dataclass(frozen=True)
class Quantity:
    """One thing that was compared."""

    name: str  # level, peak, bandwidth, score, embedding
    unit: str
    effect: float  # Wasserstein distance in ``unit``; of embedding the AUC of a classifier
    limit: float
    p: float  # of the two-sample test; Holm's adjustment over all quantities
    drifted: bool  # p at most alpha and the effect at or above its limit
    reference: Spread | None  # None for embedding
    recent: Spread | None
    said: str  # a sentence


@dataclass(frozen=True)
class DriftReport:
    """What `compare` found."""

    n_reference: int  # groups
    n_recent: int  # recordings
    n_unreadable: int
    quantities: tuple[Quantity, ...]  # none where there is too little to compare
    said: str  # a sentence on all

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the quantities that moved."""
        return tuple(one.name for one in self.quantities if one.drifted)


def compare(
    reference: Path, recordings: Sequence[Path], model: Path, config: DriftConfig, seed: int
) -> DriftReport:
    """Hold ``recordings``, files, against the ``reference`` folder of the model folder ``model``.

    Level, peak, bandwidth and score: two-sample Kolmogorov-Smirnov test and Wasserstein distance.
    Embedding: cross-validated AUC of a linear classifier that tells recent from reference, with
    its permutation test (Lopez-Paz and Oquab, ICLR 2017). All p by Holm (1979). A small p alone is
    no drift: among thousands every p is small.

    Raises
    ------
    TableError, ModelError
        The reference is missing or of another model.
    """
    from crywatch.core.digest import files_sha256
    from crywatch.core.errors import ModelError
    from crywatch.detection.detectors import load_detector
    from crywatch.operations.drift import reference as kept

    known = kept.read_reference(reference)
    if files_sha256([model]) != known.model_sha256:
        raise ModelError(f"{reference}: the reference of another model than {model}")
    rows, refused = kept.measured_recordings(
        recordings, load_detector(model), config, known.excerpt_s, seed
    )
    recent = kept.table(rows, range(len(rows)))
    old = kept.one_of_each_group(known.frame, seed)
    return judge(old, recent, config, seed, len(refused))


def judge(
    reference: pd.DataFrame,
    recent: pd.DataFrame,
    config: DriftConfig,
    seed: int,
    n_unreadable: int = 0,
) -> DriftReport:
    """Of two tables as `reference.table` makes them, whose rows are independent draws."""
    sizes = len(reference), len(recent), n_unreadable
    if min(sizes[:2]) < config.min_recordings:
        said = (
            f"too little to compare: {sizes[1]} recent recordings and {sizes[0]} groups of the "
            f"reference, {config.min_recordings} of each are needed"
        )
        return DriftReport(*sizes, (), said)
    found = [_scalar(one, reference, recent, config) for one in SCALARS]
    if EMBEDDING in reference and EMBEDDING in recent:
        found.append(_embedding(reference, recent, config, seed))
    adjusted = holm([one.p for one in found])
    quantities = tuple(_judged(one, p, config) for one, p in zip(found, adjusted, strict=True))
    moved = [one.said for one in quantities if one.drifted]
    said = (
        "; ".join(moved)
        if moved
        else f"{sizes[1]} recent recordings sound like the training data of the champion"
    )
    return DriftReport(*sizes, quantities, said)


def holm(values: Sequence[float]) -> list[float]:
    """p adjusted by Holm (1979), in the order given."""
    order = np.argsort(values, kind="stable")
    scaled = np.asarray(values)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def _scalar(
    one: Scalar, reference: pd.DataFrame, recent: pd.DataFrame, config: DriftConfig
) -> Quantity:
    from scipy.stats import ks_2samp, wasserstein_distance

    old, new = (frame[one.name].to_numpy() for frame in (reference, recent))
    p = float(ks_2samp(old, new).pvalue)
    effect = float(wasserstein_distance(old, new))
    limit = getattr(config, one.limit)
    return Quantity(one.name, one.unit, effect, limit, p, False, _spread(old), _spread(new), "")


def _spread(values: np.ndarray) -> Spread:
    return Spread(tuple(np.quantile(values, SHARES).tolist()))


def _embedding(
    reference: pd.DataFrame, recent: pd.DataFrame, config: DriftConfig, seed: int
) -> Quantity:
    from scipy.stats import rankdata
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    both = np.stack([*reference[EMBEDDING], *recent[EMBEDDING]]).astype(np.float64)
    components = min(COMPONENTS, len(both) // 4, both.shape[1])
    # Neither these nor the folds see which is which, so the permutations are a fair test.
    scaled = StandardScaler().fit_transform(both)
    seen = PCA(components, svd_solver="full").fit_transform(scaled)
    is_recent = np.arange(len(both)) >= len(reference)
    rng = np.random.default_rng(seed)
    labels = np.stack(
        [is_recent, *(rng.permutation(is_recent) for _ in range(config.permutations))], axis=1
    )
    # Regression on the labels has the direction of Fisher's discriminant, for all columns at once.
    told = np.empty(labels.shape)
    for known, asked in KFold(FOLDS, shuffle=True, random_state=seed).split(seen):
        told[asked] = (
            Ridge(alpha=1.0).fit(seen[known], labels[known].astype(float)).predict(seen[asked])
        )
    ranks = np.where(labels, rankdata(told, axis=0), 0.0).sum(axis=0)
    n_recent, n_old = len(recent), len(reference)
    aucs = (ranks - n_recent * (n_recent + 1) / 2) / (n_recent * n_old)
    auc, p = float(aucs[0]), float(np.mean(aucs >= aucs[0]))
    return Quantity(EMBEDDING, "AUC", auc, config.embedding_auc, p, False, None, None, "")


def _judged(one: Quantity, p: float, config: DriftConfig) -> Quantity:
    from dataclasses import replace

    drifted = p <= config.alpha and one.effect >= one.limit
    unit = f" {one.unit}" if one.unit else ""
    if one.reference is None or one.recent is None:
        said = (
            f"{one.name}: a classifier tells recent from training sounds with an AUC of "
            f"{one.effect:.2f} (limit {one.limit:g}, p {p:.2g})"
        )
    else:
        said = (
            f"{one.name}: median {one.recent.median:.3g} instead of {one.reference.median:.3g}"
            f"{unit}, {one.effect:.2g} apart (limit {one.limit:g}, p {p:.2g})"
        )
    return replace(one, p=p, drifted=drifted, said=said)
