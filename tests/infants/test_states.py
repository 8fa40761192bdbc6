"""An infant in two states: who is measured, what is held out, and rates that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from crywatch.core.errors import ConfigError
from crywatch.data.tables import conform
from crywatch.data.tables.infants import RECORDINGS
from crywatch.infants.evaluation.states import StatesConfig, evaluate, find
from crywatch.infants.models.cosine import Cosine
from tests.helpers.infants_cases import conformal

CONFIG = StatesConfig(pairs=[["discomfort", "pain"]], least=3, folds=5)


def recordings(infants: dict[str, tuple[int, int, int]], part: str = "test") -> pd.DataFrame:
    """Of each infant so many baths of so many recordings, and so many recordings in pain."""
    rows = []
    for infant, (baths, of_bath, pains) in infants.items():
        sessions = [f"bath{bath}" for bath in range(baths) for _ in range(of_bath)]
        for number, session in enumerate(sessions + ["pain"] * pains):
            rows.append(
                {
                    "clip_id": f"toy/{infant}/{number:03d}",
                    "corpus": "toy",
                    "infant_id": infant,
                    "session_id": f"{infant}/{session}",
                    "recorded_at": pd.NaT,
                    "recording_id": f"{infant}/{number}",
                    "cluster_id": None,
                    "split": part,
                    "category": "pain" if session == "pain" else "discomfort",
                    "cries": 1,
                    "cry_s": 1.0,
                }
            )
    return conform(pd.DataFrame(rows), RECORDINGS)


def vectors_of(table: pd.DataFrame, pain: float, seed: int = 0, dim: int = 16) -> np.ndarray:
    """A direction an infant, noise a recording; in pain another direction is added."""
    rng = np.random.default_rng(seed)
    voices = {infant: rng.standard_normal(dim) for infant in table["infant_id"].unique()}
    out = np.stack([voices[infant] for infant in table["infant_id"]])
    out = out + 0.5 * rng.standard_normal(out.shape)
    out[table["category"] == "pain"] += pain * rng.standard_normal(dim)
    return out.astype(np.float32)


def measured(table, vectors, config=CONFIG, parts=("val", "test")):
    infants = find(table, parts, config)
    return evaluate(Cosine(), vectors, "toy", infants, conformal(), config)


def test_infants_of_both_states_are_found_with_what_is_held_out():
    table = recordings({"a": (4, 3, 2), "b": (2, 4, 1), "c": (1, 2, 5), "d": (5, 1, 0)})
    a, b = find(table, ["test"], CONFIG)  # c has too few of the first, d none of the other
    assert (a.infant_id, a.corpus, a.part, a.pair) == ("a", "toy", "test", ("discomfort", "pain"))
    assert a.apart and len(set(a.occasions)) == 4
    assert not b.apart and len(set(b.occasions)) == 8  # two baths leave none to calibrate on
    assert a.baseline.tolist() == list(range(12)) and a.other.tolist() == [12, 13]
    folds = a.folds(5)
    assert set(folds) == {0, 1, 2, 3}
    assert all(len(set(folds[a.occasions == bath])) == 1 for bath in set(a.occasions))
    assert find(table, ["val"], CONFIG) == []


def test_alarms_on_what_is_held_out_are_as_many_as_promised():
    table = recordings({f"{n:02d}": (4, 4, 6) for n in range(60)})
    (same,) = measured(table, vectors_of(table, 0.0))
    (other,) = measured(table, vectors_of(table, 1.0))
    assert same.infants == same.promised == same.apart == 60
    assert same.rate_promised == conformal().rate
    for row in (same, other):
        assert row.false_alarms == pytest.approx(row.rate_promised, abs=0.03)
        assert row.false_alarms_low < row.false_alarms < row.false_alarms_high
    assert same.auc == pytest.approx(0.5, abs=0.05) and same.detected < 0.2
    assert other.auc > 0.95 and other.detected > 0.8


def test_an_area_is_that_of_the_scores_of_each_fold():
    table = recordings({"a": (1, 7, 4)})
    vectors = vectors_of(table, 0.3)
    (row,) = measured(table, vectors)
    (infant,) = find(table, ["test"], CONFIG)
    fold, expected = infant.folds(5), 0.0
    for number in range(5):
        held, kept = vectors[:7][fold == number], vectors[:7][fold != number]
        # Of each recording left out of the fold's rest a model: the mean of their scores counts.
        model = Cosine()
        scores = []
        for out in range(len(kept)):
            rest = np.delete(kept, out, axis=0)
            centre = (rest / np.linalg.norm(rest, axis=1, keepdims=True)).mean(axis=0)
            arrays = {"centroid": centre / np.linalg.norm(centre)}
            scores.append(model.score([arrays], [np.concatenate([held, vectors[7:]])])[0])
        labels = np.repeat([0, 1], [len(held), 4])
        expected += len(held) / 7 * roc_auc_score(labels, np.mean(scores, axis=0))
    assert row.auc == pytest.approx(expected, abs=1e-6)
    assert row.auc_low is None  # of one infant there is no interval


def test_few_recordings_have_an_area_and_no_promise():
    table = recordings({"a": (1, 5, 3), "b": (1, 12, 3)})
    (row,) = measured(table, vectors_of(table, 2.0))
    assert (row.infants, row.apart, row.promised) == (2, 0, 1)
    assert row.auc > 0.9 and row.false_alarms is not None and row.false_alarms_low is None
    (alone,) = measured(table[:8], vectors_of(table, 2.0))
    assert alone.promised == 0 and alone.false_alarms is None and alone.detected is None


def test_parts_and_pairs_have_rows_of_their_own():
    table = pd.concat([recordings({"a": (1, 5, 3)}), recordings({"b": (1, 5, 3)}, "val")])
    table = table.reset_index(drop=True)
    pairs = [["discomfort", "pain"], ["pain", "discomfort"]]
    config = StatesConfig(pairs, 3, 5)
    rows = measured(table, vectors_of(table, 1.0), config)
    assert [(row.part, row.baseline, row.baseline_recordings) for row in rows] == [
        ("test", "discomfort", 5),
        ("val", "discomfort", 5),
        ("test", "pain", 3),
        ("val", "pain", 3),
    ]


@pytest.mark.parametrize(
    "change", [{"pairs": [["pain", "pain"]]}, {"pairs": [["pain"]]}, {"least": 2}, {"folds": 1}]
)
def test_settings_that_cannot_be_are_named(change):
    with pytest.raises(ConfigError, match="states"):
        StatesConfig(**({"pairs": [], "least": 3, "folds": 2} | change))
