"""Recent recordings against a reference: two-sample tests, distances, and a sentence on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crywatch.metrics.paired import holm
from crywatch.operations.drift.measures import EMBEDDING, SCALARS, DriftConfig

if TYPE_CHECKING:
    import pandas as pd

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
COMPONENTS = 16  # of the embeddings, that the classifier sees
FOLDS = 10


@dataclass(frozen=True)
class QuantitySpread:
    """A distribution in five numbers: the quantiles of `SHARES`."""

    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        """The third."""
        return self.quantiles[2]


@dataclass(frozen=True)
class DriftQuantity:
    """A distribution of the recent sounds beside that of the reference."""

    name: str  # level, peak, bandwidth, score, embedding
    unit: str
    effect: float  # Wasserstein distance in ``unit``; of embedding the AUC of a classifier
    limit: float
    p: float  # of the two-sample test; Holm's adjustment over all quantities
    drifted: bool  # p at most alpha and the effect at or above its limit
    reference: QuantitySpread | None  # None for embedding
    recent: QuantitySpread | None
    said: str  # a sentence


@dataclass(frozen=True)
class DriftReport:
    """What `check_drift` gives."""

    n_reference: int  # groups
    n_recent: int  # recordings
    n_unreadable: int
    quantities: tuple[DriftQuantity, ...]  # none where there is too little to compare
    said: str  # a sentence on all

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the quantities that moved."""
        return tuple(quantity.name for quantity in self.quantities if quantity.drifted)


def check_drift(
    reference: Path, recordings: Sequence[Path], model: Path, config: DriftConfig, seed: int
) -> DriftReport:
    """Test ``recordings``, files, against the ``reference`` folder of the model folder ``model``.

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
    from crywatch.core.models import own_files
    from crywatch.detection.detectors import load_detector
    from crywatch.operations.drift.reference import (
        measure_recordings,
        one_of_each_group,
        read_reference,
        table,
    )

    training = read_reference(reference)
    if files_sha256(own_files(model)) != training.model_sha256:
        raise ModelError(f"{reference}: the reference of another model than {model}")
    rows, unreadable = measure_recordings(
        recordings, load_detector(model), config, training.excerpt_s, seed
    )
    recent, old = table(rows, range(len(rows))), one_of_each_group(training.frame, seed)
    return check_tables(old, recent, config, seed, len(unreadable))


def check_tables(
    reference: pd.DataFrame,
    recent: pd.DataFrame,
    config: DriftConfig,
    seed: int,
    n_unreadable: int = 0,
) -> DriftReport:
    """Of two tables as `reference.table` makes them, whose rows are independent draws."""
    sizes = len(reference), len(recent), n_unreadable
    if min(sizes[:2]) < config.min_recordings:
        text = (
            f"too little to compare: {sizes[1]} recent recordings and {sizes[0]} groups of the "
            f"reference, {config.min_recordings} of each are needed"
        )
        return DriftReport(*sizes, (), text)
    tests = [_scalar(*scalar, reference, recent, config) for scalar in SCALARS]
    if EMBEDDING in reference and EMBEDDING in recent:
        tests.append(_embedding(reference, recent, config, seed))
    p_holm = holm([test.p for test in tests])
    quantities = tuple(
        _decide(test, p, config) for test, p in zip(tests, p_holm, strict=True) if p is not None
    )
    text = "; ".join(quantity.said for quantity in quantities if quantity.drifted)
    similar = f"{sizes[1]} recent recordings sound like the training data of the champion"
    return DriftReport(*sizes, quantities, text or similar)


def _scalar(
    name: str,
    unit: str,
    limit_key: str,
    reference: pd.DataFrame,
    recent: pd.DataFrame,
    config: DriftConfig,
) -> DriftQuantity:
    from scipy.stats import ks_2samp, wasserstein_distance

    old, new = (frame[name].to_numpy() for frame in (reference, recent))
    p, effect = float(ks_2samp(old, new).pvalue), float(wasserstein_distance(old, new))
    limit = getattr(config, limit_key)
    return DriftQuantity(name, unit, effect, limit, p, False, _spread(old), _spread(new), "")


def _spread(values: np.ndarray) -> QuantitySpread:
    return QuantitySpread(tuple(np.quantile(values, SHARES).tolist()))


def _embedding(
    reference: pd.DataFrame, recent: pd.DataFrame, config: DriftConfig, seed: int
) -> DriftQuantity:
    from scipy.stats import rankdata
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler

    both = np.stack([*reference[EMBEDDING], *recent[EMBEDDING]]).astype(np.float64)
    components = min(COMPONENTS, len(both) // 4, both.shape[1])
    # Neither these nor the folds know which is which, so the permutations are a fair test.
    scaled = StandardScaler().fit_transform(both)
    features = PCA(components, svd_solver="full").fit_transform(scaled)
    is_recent = np.arange(len(both)) >= len(reference)
    rng = np.random.default_rng(seed)
    labels = np.stack(
        [is_recent, *(rng.permutation(is_recent) for _ in range(config.permutations))], axis=1
    )
    # Regression on the labels has the direction of Fisher's discriminant, for all columns at once.
    scores = np.empty(labels.shape)
    for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(features):
        ridge = Ridge(alpha=1.0).fit(features[train], labels[train].astype(float))
        scores[test] = ridge.predict(features[test])
    ranks = np.where(labels, rankdata(scores, axis=0), 0.0).sum(axis=0)
    n_recent, n_old = len(recent), len(reference)
    aucs = (ranks - n_recent * (n_recent + 1) / 2) / (n_recent * n_old)
    auc, p = float(aucs[0]), float(np.mean(aucs >= aucs[0]))
    return DriftQuantity(EMBEDDING, "AUC", auc, config.embedding_auc, p, False, None, None, "")


def _decide(test: DriftQuantity, p: float, config: DriftConfig) -> DriftQuantity:
    drifted = p <= config.alpha and test.effect >= test.limit
    unit = f" {test.unit}" if test.unit else ""
    if test.reference is None or test.recent is None:
        text = (
            f"{test.name}: a classifier tells recent from training sounds with an AUC of "
            f"{test.effect:.2f} (limit {test.limit:g}, p {p:.2g})"
        )
    else:
        text = (
            f"{test.name}: median {test.recent.median:.3g} instead of {test.reference.median:.3g}"
            f"{unit}, {test.effect:.2g} apart (limit {test.limit:g}, p {p:.2g})"
        )
    return replace(test, p=p, drifted=drifted, said=text)
