"""Seeds of a system as one row: means, deviations, and what had no number."""

import pytest

from crywatch.core.seeds import over_seeds


def test_rows_of_equal_keys_become_one():
    rows = [
        {"row": "a", "unit": "clip", "auc": 0.5, "n": 7},
        {"row": "b", "unit": "clip", "auc": 0.9, "n": 8},
        {"row": "a", "unit": "clip", "auc": 0.7, "n": 9},
    ]
    first, second = over_seeds(rows, ["row", "unit"], ["auc"])
    assert first["auc"] == pytest.approx(0.6)
    assert first["auc_sd"] == pytest.approx(0.2 / 2**0.5)
    assert (first["row"], first["seeds"], first["n"]) == ("a", 2, 7)
    assert (second["row"], second["seeds"], second["auc"], second["auc_sd"]) == ("b", 1, 0.9, None)
    assert "seeds" not in rows[0]


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [([None, 0.5], 0.5, None), ([None, None], None, None), ([0.25, None, 0.75], 0.5, 0.5 / 2**0.5)],
)
def test_what_was_not_defined_is_no_zero(values, mean, deviation):
    (one,) = over_seeds([{"row": "a", "auc": value} for value in values], ["row"], ["auc"])
    assert one["auc"] == mean and one["seeds"] == len(values)
    assert one["auc_sd"] == (None if deviation is None else pytest.approx(deviation))
