"""The gate's training: what the heads tell, what they do not, and that the numbers say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crywatch.core import models
from crywatch.core.atomic import read_json
from crywatch.core.errors import ConfigError, TableError
from crywatch.data.tables import conform
from crywatch.data.tables.infants import OTHERS
from crywatch.infants import gate as gates
from crywatch.infants.embedded_cries import EmbeddedCries, write_embedded
from crywatch.infants.gate_figures import ROC, roc_figure, score_figure
from crywatch.infants.gate_figures import SCORES as SCORES_SVG
from crywatch.infants.gate_heads import (
    CHARTS,
    CROSS_VALIDATED,
    METRICS,
    SCORES,
    train_gate,
)
from crywatch.infants.models.cosine import unit
from crywatch.report.follow_tables import gate_tables
from tests.helpers.embedded_cases import (
    DIM,
    embedding_info,
    gate_config,
    recordings_table,
    vectors_of,
    write_store,
)

CONFIG = gate_config()
SPLITS = {f"i{n}": part for n, part in enumerate(["train"] * 8 + ["val"] * 4 + ["test"] * 4)}


def write(folder, distress: float, cry: float = 2.0, pain_in=("train", "val", "test"), seed=0):
    """A store: each infant's fourth recordings are pain, ``distress`` and ``cry`` how far off."""
    frame = recordings_table(dict.fromkeys(SPLITS, 12), SPLITS)
    pain = (np.arange(len(frame)) % 4 == 3) & frame["split"].isin(pain_in).to_numpy()
    frame["category"] = np.where(pain, "pain", "hunger")
    rng = np.random.default_rng([seed, 3])
    first, second = rng.standard_normal((2, DIM))
    raw = vectors_of(frame, spread=2.0) * np.sqrt(DIM)
    vectors = unit(raw + distress * pain[:, None] * first + cry * second)
    others = pd.DataFrame(
        [
            {"clip_id": f"esc50/{part}{n}", "corpus": "esc50", "split": part, "category": "dog"}
            for part in ("train", "val", "test")
            for n in range(20)
        ]
    )
    noise = rng.standard_normal((len(others), DIM)) * np.sqrt(5)
    write_embedded(
        folder,
        embedding_info(),
        frame,
        vectors.astype(np.float32),
        others=conform(others, OTHERS),
        other_vectors=unit(noise).astype(np.float32),
    )
    return folder


def run(store, config, seed, out, changed=("planted",)):
    return train_gate(EmbeddedCries(store), config, changed, seed, out)


def row(summary, head, part):
    return next(r for r in summary.rows if (r.head, r.part, r.scope) == (head, part, "pooled"))


def test_heads_that_tell_are_used_and_say_how_well(tmp_path):
    summary = run(write(tmp_path / "s", distress=2.0), CONFIG, 1, tmp_path / "out")
    for head in gates.HEADS:
        found = row(summary, head, "test")
        assert summary.heads[head].on
        assert found.auc > 0.9 and found.auc_low > 0.8
        assert found.passed_right > 0.8 > 0.4 > found.passed_wrong
    gate = gates.load(tmp_path / "out", "d" * 64)
    assert gate.cry is not None and gate.distress is not None and gate.least_p == 0.02
    assert read_json(tmp_path / "out" / METRICS)["heads"]["cry"]["on"]
    assert summary.headline()["gate_cry_auc"] == row(summary, "cry", "test").auc


def test_scores_are_kept_and_drawn(tmp_path):
    from sklearn.metrics import roc_auc_score

    store = write(tmp_path / "s", distress=0.5)
    summary = run(store, CONFIG, 1, tmp_path / "out")
    charts = tmp_path / "out" / CHARTS
    scores = pd.read_csv(charts / SCORES)
    for head in gates.HEADS:
        decided = summary.heads[head]
        for part in (CROSS_VALIDATED, "val", "test"):
            found = row(summary, head, part)
            own = scores[(scores["head"] == head) & (scores["part"] == part)]
            assert len(own) == found.positives + found.negatives
            auc = roc_auc_score(own["positive"], own["probability"])
            assert auc == pytest.approx(found.auc, abs=1e-4)
            assert own["threshold"].unique() == pytest.approx(decided.threshold, abs=1e-6)
    for name in (ROC, SCORES_SVG):
        picture = (charts / name).read_bytes()
        assert picture.startswith(b"<?xml") and len(picture) > 10_000


def test_the_dot_on_an_roc_curve_is_the_threshold():
    probability = np.array([0.1, 0.4, 0.6, 0.9])
    made = {"part": "test", "probability": probability, "threshold": 0.5}
    scores = pd.DataFrame(made | {"head": "cry", "positive": [False, False, True, True]})
    scores.loc[1:2, "positive"] = [True, False]
    axes, empty = roc_figure(scores).axes
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0.5, 0.5)
    assert "AUC 0.750" in axes.get_legend().get_texts()[0].get_text()
    assert empty.texts[0].get_text() == "no recordings of both classes"
    shown, nothing = score_figure(scores).axes
    texts = [text.get_text() for text in shown.get_legend().get_texts()]
    assert texts == ["other sounds, 2", "cries, 2", "threshold 0.50"]
    assert sum(patch.get_height() for patch in shown.patches) == pytest.approx(2)
    assert nothing.texts and not nothing.patches


def test_a_head_that_tells_nothing_is_off_and_says_so(tmp_path):
    summary = run(write(tmp_path / "s", distress=0.0), CONFIG, 1, tmp_path / "out")
    said = summary.heads["distress"]
    assert not said.on and "at random" in said.reason
    assert row(summary, "distress", CROSS_VALIDATED).auc_low < 0.5
    assert gates.load(tmp_path / "out").distress is None
    assert summary.heads["cry"].on


def test_without_labels_a_head_is_off(tmp_path):
    config = replace(CONFIG, distress=["wail"], calm=["tired"])
    summary = run(write(tmp_path / "s", 2.0), config, 1, tmp_path / "out")
    assert "nothing to learn" in summary.heads["distress"].reason
    assert {found.head for found in summary.rows} == {"cry"}
    assert set(pd.read_csv(tmp_path / "out" / CHARTS / SCORES)["head"]) == {"cry"}


def test_without_other_sounds_the_gate_still_stands(tmp_path):
    frame = recordings_table(dict.fromkeys(SPLITS, 4), SPLITS)
    write_store(tmp_path / "store", frame)
    summary = run(tmp_path / "store", CONFIG, 1, tmp_path / "gate")
    assert summary.rows == () and not any(head.on for head in summary.heads.values())
    assert summary.heads["cry"].reason == (
        "nothing to learn from: part train has 32 of it in 32 recordings, "
        "each class needs two infants or clips"
    )
    gate = gates.load(tmp_path / "gate", embedding_info().digest)
    assert gate.decide(vectors_of(frame), np.full(len(frame), 0.5)).accepted.all()
    # Without rows the page has none.
    assert gate_tables(tmp_path / "gate")[0].rows == []
    with pytest.raises(TableError, match="dvc repro fit_infants"):
        gate_tables(tmp_path / "none")


def test_a_gate_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    store = write(tmp_path / "store", distress=3.0)
    monkeypatch.setattr("crywatch.infants.gate_heads.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(store, CONFIG, 1, tmp_path / "gate")
    assert not (tmp_path / "gate").exists()


def test_where_val_lacks_a_class_train_is_cross_validated(tmp_path):
    store = write(tmp_path / "s", 2.0, pain_in=("train", "test"))
    summary = run(store, CONFIG, 1, tmp_path / "out")
    assert summary.heads["distress"].chosen_on == CROSS_VALIDATED
    assert row(summary, "distress", "val").auc is None
    assert summary.heads["distress"].on


def test_cross_validation_hears_no_infant_twice(tmp_path):
    """With labels drawn by infant, a head that has heard the infant would know them all."""
    infants = [f"i{number:02d}" for number in range(40)]
    frame = recordings_table(dict.fromkeys(infants, 4))
    drawn = {infant: number % 2 == 0 for number, infant in enumerate(infants)}
    frame["category"] = ["pain" if drawn[infant] else "hunger" for infant in frame["infant_id"]]
    write_embedded(tmp_path / "s", embedding_info(), frame, vectors_of(frame, spread=0.2))
    summary = run(tmp_path / "s", CONFIG, 1, tmp_path / "out")
    assert row(summary, "distress", CROSS_VALIDATED).auc < 0.8
    assert not summary.heads["cry"].on


def test_planted_changes_are_not_learned_from(tmp_path):
    store = write(tmp_path / "s", 2.0)
    assert row(run(store, CONFIG, 1, tmp_path / "a"), "cry", "test").positives == 48
    config = replace(CONFIG, calm=["tired"])
    assert row(run(store, config, 1, tmp_path / "b", ["hunger"]), "cry", "test").positives == 12


def test_two_runs_give_equal_bytes(tmp_path):
    store = write(tmp_path / "s", 1.0)
    for name in ("a", "b"):
        run(store, CONFIG, 1, tmp_path / name)
    paths = (path for path in (tmp_path / "a").rglob("*") if path.is_file())
    files = sorted(path.relative_to(tmp_path / "a").as_posix() for path in paths)
    charts = [f"{CHARTS}/{name}" for name in (SCORES, ROC, SCORES_SVG)]
    assert files == sorted([METRICS, models.DESCRIPTION, models.WEIGHTS, *charts])
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_category_cannot_be_both():
    with pytest.raises(ConfigError, match="pain"):
        replace(CONFIG, calm=["pain"])
