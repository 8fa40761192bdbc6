"""The report's tables of verification, from made rows."""

from __future__ import annotations

import pytest

from crywatch.core.atomic import write_json
from crywatch.core.errors import TableError
from crywatch.report.verification_tables import equal_error_rate, percent, verification_tables


def row(line: str, protocol: str, scope: str = "pooled", part: str = "test", **values) -> dict:
    network = line.removesuffix("-unaveraged")
    given = {"n_same": 48, "n_other": 216, "n_infants": 4, "min_dcf": 0.987654}
    given |= {"eer": 0.25, "eer_low": 0.2, "eer_high": 0.3}
    head = {"network": network, "line": line, "crops": 2, "protocol": protocol}
    return head | {"scope": scope, "part": part} | given | values


def of_line(line: str, **values) -> list[dict]:
    return [
        row(line, "across", part="val", eer=0.11111),
        row(line, "within", eer=0.22222),
        row(line, "across", eer=0.33333, **values),
    ]


def written(folder, rows, **changes):
    told = {
        "rows": rows,
        "choice": {"network": "ge2e", "protocol": "across", "eer": 0.1},
        "off_the_shelf": "",
        "averaging": {"crops": 2, "crop_s": 1.5},
        "gap_s": 21600,
        "parts": {"test": {"recordings": 24, "infants": 4}},
    }
    write_json(folder / "tables.json", told | changes)
    return verification_tables(folder)


def test_a_line_a_network_with_within_and_across_apart(tmp_path):
    rows = of_line("ge2e") + of_line("logmel", eer_low=None) + of_line("ge2e-unaveraged")
    (table,) = written(tmp_path, rows)
    cells = {line[0]: line[1:] for line in table.rows}
    best = "ECAPA-TDNN, GE2E (best on the validation part)"
    assert list(cells) == [
        best,
        "log-mel, mean and deviation",
        "ECAPA-TDNN, GE2E, not averaged",
    ]
    assert cells[best][:3] == ["11.1 %", "22.2 % (20.0 to 30.0)", "33.3 % (20.0 to 30.0)"]
    assert cells["log-mel, mean and deviation"][2] == "33.3 %"
    assert {len(line) for line in table.rows} == {len(table.columns)}
    for said in ("48 pairs of one infant", "6 h or more", "4 infants", "2 shuffled crops of 1.5 s"):
        assert said in table.note
    assert "weights not at hand" in table.note and "21.38 %" in table.note


def test_what_is_there_is_not_missed(tmp_path):
    rows = of_line("ge2e") + of_line("off-the-shelf")
    (table,) = written(tmp_path, rows, off_the_shelf="somewhere")
    assert "not at hand" not in table.note
    assert table.rows[1][0] == "ECAPA-TDNN off the shelf"


def test_no_network_is_called_best_without_validation(tmp_path):
    choice = {"network": "ge2e", "protocol": "", "eer": None}
    (table,) = written(tmp_path, of_line("ge2e"), choice=choice)
    assert table.rows[0][0] == "ECAPA-TDNN, GE2E" and "no network is called best" in table.note


def test_several_corpora_have_a_table_of_their_own(tmp_path):
    rows = of_line("ge2e")
    for scope in ("home", "donateacry"):
        rows += [row("ge2e", "within", scope, eer=None), row("ge2e", "across", scope, eer=0.4)]
    pooled, by_corpus = written(tmp_path, rows)
    assert [line[:3] for line in by_corpus.rows] == [
        ["home", "ECAPA-TDNN, GE2E", "4"],
        ["donateacry", "ECAPA-TDNN, GE2E", "4"],
    ]
    assert by_corpus.rows[0][3:] == ["48 / 48 / 216", "n/a", "40.0 % (20.0 to 30.0)"]
    one = of_line("ge2e") + [row("ge2e", p, "home") for p in ("within", "across")]
    assert len(written(tmp_path, one)) == 1  # it would repeat the pooled one


def test_crycelebs_trials_stand_beside_the_published_figures(tmp_path):
    rows = of_line("ge2e")
    for name, crops in (("ge2e", 2), ("off-the-shelf-unaveraged", 0), ("off-the-shelf", 2)):
        rows.append(row(name, "cryceleb", "cryceleb", "val", eer=0.4, crops=crops))
    _, table = written(tmp_path, rows, off_the_shelf="somewhere")
    assert table.rows[0][:3] == ["ECAPA-TDNN, GE2E", "dev", "48 / 216"]
    here, published = "40.0 % (20.0 to 30.0)", table.columns.index("EER published, test trials")
    assert [line[3] for line in table.rows[:3]] == [here] * 3
    assert [line[published] for line in table.rows] == [
        *("n/a", "37.92 %", "n/a"),
        *("37.92 %", "28.20 %", "25.80 %"),
    ]
    assert table.rows[1][0] == "ECAPA-TDNN off the shelf, not averaged"
    assert "joined to one sound" in table.note and "test trials" in table.note


def test_shares_as_text():
    assert percent(None) == "n/a" and percent(0.0) == "0.0 %"
    assert equal_error_rate({}) == "n/a"


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(TableError, match=r"tables\.json is missing: run `dvc repro evaluate_verif"):
        verification_tables(tmp_path)
