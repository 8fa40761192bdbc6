"""The report's tables of infants, from what the stage writes."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.core.atomic import read_json
from crywatch.core.errors import TableError
from crywatch.infants.embedded_cries import EmbeddedCries, write_embedded
from crywatch.infants.fit_infants import fit
from crywatch.report.iclas_tables import SLIDES as SLIDES_INFANTS
from crywatch.report.iclas_tables import iclas_tables
from crywatch.report.infant_tables import (
    SLIDES,
    SLIDES_POSITIVES,
    SLIDES_RECORDINGS,
    alarming_always,
    infant_tables,
)
from tests.helpers.embedded_cases import (
    embedding_info,
    fit_config,
    recordings_table,
    vectors_of,
    write_timelines,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fit_infants")
    write_timelines(root / "store")
    for name in ("mahalanobis", "cosine"):
        fit(name, EmbeddedCries(root / "store"), fit_config(), 1, root / name)
    return root


def test_infants_models_and_changes(folder):
    infants, models, changes = infant_tables(folder, ["cosine", "mahalanobis"], "mahalanobis")
    assert infants.title == "Infants: shrinkage Mahalanobis, test part"
    assert [row[0] for row in infants.rows] == ["t1", "t2", "t3", "mean ± sd"]
    assert all(len(row) == len(infants.columns) for row in infants.rows)
    column = infants.columns.index
    assert infants.rows[0][column("false alarms promised")] == "0.10"
    assert "to" in infants.rows[0][column("seen")] and infants.rows[2][column("seen")] == "n/a"
    assert "cannot reach 0.1" in infants.rows[2][-1]
    assert "identity, not health" in infants.note and "no corpus at hand has health" in infants.note
    assert [row[0] for row in models.rows] == [
        "cosine to the centroid", "shrinkage Mahalanobis", "alarming always", "slides, autoencoder",
        "slides, alarming always",
    ]  # fmt: skip
    assert models.rows[0][1] == "2 of 3" and models.rows[-2][2] == "0.906 ± 0.049"
    assert models.rows[-1][2:7] == [
        "0.500 ± 0.000", "0.722 ± 0.100", "0.835 ± 0.068", "1.000 ± 0.000", "1.000 ± 0.000"
    ]  # fmt: skip
    rows = read_json(folder / "cosine" / "tables.json")["parts"]["test"]["rows"]
    always, promised = models.rows[2], [row for row in rows if row["promised"]]
    assert always[1] == "2 of 3" and len(promised) == 2
    for column, over in ((3, rows), (4, promised)):  # AP of all, F1 of those that may alarm
        own = alarming_always([(row["test_clips"], row["positives"]) for row in over])
        mean = own["average_precision" if over is rows else "f1"][0]
        assert always[column].startswith(f"{mean:.3f} ")
    kinds = {row[0]: row[1] for row in changes.rows}
    assert kinds == {
        "pitch +40 %": "change",
        "planted": "in the corpus",
        "noise 20 dB": "control",
        "unchanged": "false alarms",
    }
    assert all(len(row) == len(table.columns) for table in (models, changes) for row in table.rows)


def test_infants_that_cannot_be_divided_are_named_and_changes_may_be_missing(tmp_path):
    frame = recordings_table({"a": 30, "b": 2}, {"a": "test", "b": "test"})
    vectors = vectors_of(frame)
    write_embedded(tmp_path / "store", embedding_info(), frame, vectors)
    store = EmbeddedCries(tmp_path / "store")
    fit("cosine", store, fit_config(0), 1, tmp_path / "fit" / "cosine")
    infants, _ = infant_tables(tmp_path / "fit", ["cosine"], "cosine")[:2]
    assert "1 infant(s) have too few recordings or sessions" in infants.note
    assert np.all([len(row) == len(infants.columns) for row in infants.rows])


def test_the_slides_infants_have_their_rows_where_their_corpus_is_there(tmp_path):
    ids = {name: f"enesbabycries/{name}" for name in ("BR07", "BS03", "CA12", "AA01")}
    parts = {ids["BR07"]: "test", ids["BS03"]: "test", ids["AA01"]: "val"}
    frame = recordings_table({ids["BR07"]: 30, ids["BS03"]: 2, ids["AA01"]: 30}, parts)
    write_embedded(tmp_path / "store", embedding_info(), frame, vectors_of(frame))
    store = EmbeddedCries(tmp_path / "store")
    fit("cosine", store, fit_config(0), 1, tmp_path / "fit" / "autoencoder")
    assert iclas_tables(tmp_path / "fit", {ids["AA01"]: "val"}) == []
    (found,) = iclas_tables(tmp_path / "fit", parts | {ids["CA12"]: "train"})
    assert [line[0] for line in found.rows] == sorted(SLIDES_INFANTS) and len(found.rows) == 17
    lines = {line[0]: dict(zip(found.columns, line, strict=True)) for line in found.rows}
    both = lines["BR07"]
    assert (both["recordings, slides"], both["recordings, here"]) == ("15", "30")
    assert both["AUC, slides"] == "0.923" and 0 <= float(both["AUC, here"]) <= 1
    assert both["false alarms, slides"] == "0.067" and both["part"] == "test"
    assert lines["BS03"]["part"].startswith("test: ") and lines["BS03"]["AUC, here"] == "n/a"
    assert lines["CA12"]["part"].startswith("train: ") and lines["TM04"]["part"] == "not here"
    # The slides give the means of these columns.
    figures = np.array(list(SLIDES_INFANTS.values()))[:, 1:]
    expected = [mean for mean, _ in SLIDES.values()]
    np.testing.assert_allclose(figures.mean(axis=0), expected, atol=5e-4)


def test_alarming_always_is_what_scikit_learn_says_of_equal_scores():
    from sklearn.metrics import average_precision_score, f1_score

    counts = [(n, SLIDES_POSITIVES) for n in SLIDES_RECORDINGS]
    slow = {"average_precision": [], "f1": []}
    for normals, positives in counts:
        labels = np.repeat([0, 1], [normals, positives])
        slow["average_precision"].append(average_precision_score(labels, np.ones(len(labels))))
        slow["f1"].append(f1_score(labels, np.ones(len(labels))))
    ours = alarming_always([*counts, (0, 50), (3, 0)])
    assert set(ours) == set(SLIDES)
    for name, values in slow.items():
        assert ours[name] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    # The seed's own counts: little below what the slides report of their autoencoders.
    assert ours["f1"][0] == pytest.approx(0.835, abs=5e-4)
    assert ours["average_precision"][0] == pytest.approx(0.722, abs=5e-4)
    assert alarming_always([]) == {} and alarming_always([(3, 1)])["f1"] == (0.4, 0.0)


def test_a_model_that_was_not_fitted_is_said(folder, tmp_path):
    with pytest.raises(TableError, match="mixture/tables.json is missing"):
        infant_tables(folder, ["mixture"], "cosine")
    (tmp_path / "cosine").mkdir()
    (tmp_path / "cosine" / "tables.json").write_text('{"parts": {}}')
    with pytest.raises(TableError, match="damaged"):
        infant_tables(tmp_path, ["cosine"], "cosine")
