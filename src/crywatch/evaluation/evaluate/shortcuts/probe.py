"""Corpus probes: how well logistic regression tells which corpus a second comes from.

A detector can use as a shortcut only what its front end and its features still hold. Cries are
probed by themselves, and other sounds: the label then gives nothing away. Folds are by group, so
that no recording is in both. The probe's chance is one in as many as there are corpora; that of
labels drawn anew says how far a probe of so few recordings gets by luck.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from crywatch.core.progress import progress
from crywatch.data.selection import LABELS
from crywatch.data.tables import PARTS
from crywatch.evaluation.scored import ProbeSource, Scored

ALL, UNSEEN = "all", "unseen"
SUBSETS = {ALL: PARTS, UNSEEN: ("val", "test")}  # parts; networks were trained on train
C = 0.1  # inverse strength of the penalty on the weights, of standardised numbers
STEPS = 200  # of the fit


@dataclass
class ProbeConfig:
    """Section ``evaluate.shortcuts.probe``."""

    folds: int
    permutations: int  # of the corpora's names among recordings


@dataclass(frozen=True)
class ProbeRow:
    """One probe."""

    name: str  # what it was given
    row: str  # of a table: the name without the system's seed
    system_row: str  # the system's own row, "" for a front end
    label: str  # cry, other: of the seconds
    parts: str  # all, or unseen: those that no network was trained on
    corpora: list[str]
    n: int  # seconds
    groups: int  # of the corpus that has the fewest
    balanced_accuracy: float
    chance: float
    permuted: float  # mean of the same with labels drawn anew
    permuted_high: float  # the highest of them


def probe_rows(scored: Scored, config: ProbeConfig, seed: int) -> Iterator[ProbeRow]:
    """Every source on cries and on others; on all parts, and on those no network has heard.

    A corpus with fewer than two groups of that label is not probed, nor one corpus by itself.
    """
    table = scored.probed()
    sources = dict(scored.vectors())
    wanted = [(parts, label, source) for parts in SUBSETS for label in LABELS for source in sources]
    for parts, label, source in progress(wanted, "probes", unit="probe"):
        vectors = sources[source]
        row = probe_row(table, vectors, source, (parts, label), config, seed)
        if row is not None:
            yield row


def probe_row(
    table: pd.DataFrame,
    vectors: np.ndarray,
    source: ProbeSource,
    subset: tuple[str, str],
    config: ProbeConfig,
    seed: int,
) -> ProbeRow | None:
    """One source, whose ``vectors`` [seconds, d] are of the seconds of ``table``, on a ``subset``.

    That is parts, of `SUBSETS`, and a label; None where there are fewer than two corpora of it.
    """
    parts, label = subset
    rows = np.flatnonzero(table["split"].isin(SUBSETS[parts]) & (table["label"] == label))
    here = table.iloc[rows]
    groups = here.groupby("corpus")["group_id"].nunique()
    corpora = sorted(groups.index[groups >= 2])
    if len(corpora) < 2:
        return None
    rows = rows[here["corpus"].isin(corpora).to_numpy()]
    here = table.iloc[rows]
    folds = min(config.folds, int(groups[corpora].min()))
    accuracy = probe(vectors[rows], here["corpus"], here["group_id"], folds, seed)
    drawn = [
        probe(vectors[rows], permuted(here, [seed, number]), here["group_id"], folds, seed)
        for number in range(config.permutations)
    ]
    return ProbeRow(
        name=source.name,
        row=source.row,
        system_row=source.system_row,
        label=label,
        parts=parts,
        corpora=corpora,
        n=len(here),
        groups=int(groups[corpora].min()),
        balanced_accuracy=accuracy,
        chance=1 / len(corpora),
        permuted=float(np.mean(drawn)),
        permuted_high=float(np.max(drawn)),
    )


def probe(
    vectors: np.ndarray, corpora: ArrayLike, groups: ArrayLike, folds: int, seed: int
) -> float:
    """Balanced accuracy of the names ``corpora`` [n] predicted from ``vectors`` [n, d].

    Every second is predicted by a model that was fitted to the other ``groups`` [n].
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    names = np.asarray(corpora, dtype=str)
    predicted = np.empty_like(names)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        # Enough steps to tell corpora apart; the last digit of the weights is of no interest.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The least populated class")
        for train, test in splitter.split(vectors, names, np.asarray(groups, dtype=str)):
            if len(np.unique(names[train])) == 1:
                predicted[test] = names[train][0]
                continue
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=STEPS)
            )
            predicted[test] = model.fit(vectors[train], names[train]).predict(vectors[test])
        return float(balanced_accuracy_score(names, predicted))


def permuted(seconds: pd.DataFrame, seed: Sequence[int]) -> np.ndarray:
    """The corpora of ``seconds`` drawn anew: one name for all that a corpus has of a group."""
    cells, of_cell = np.unique(
        (seconds["corpus"] + "\n" + seconds["group_id"]).to_numpy(dtype=str), return_inverse=True
    )
    names = np.array([cell.partition("\n")[0] for cell in cells])
    return np.random.default_rng(list(seed)).permutation(names)[of_cell]
