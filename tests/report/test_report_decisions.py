"""The report's tables on decisions: what was stated, promised and seen of each model."""

from __future__ import annotations

from crywatch.core import charts, paths
from crywatch.core.atomic import write_json, write_text
from crywatch.report.decision_tables import decision_tables, read_decisions
from tests.helpers.report_cases import DECISIONS


def lines(table) -> list[dict[str, str]]:
    assert all(len(row) == len(table.columns) for row in table.rows)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_model_that_could_not_be_made_is_left_out(tmp_path):
    write_json(tmp_path / "robust" / "tables.json", DECISIONS)
    write_text(tmp_path / "fused" / paths.MISSING_NOTE, "fused: set yamnet.handle\n")
    assert read_decisions([tmp_path / "robust", tmp_path / "fused"]) == [DECISIONS]


def test_rates_are_shown_with_what_was_promised_and_seen():
    rates, scopes, calibration = decision_tables([DECISIONS])
    plain, first, default = lines(rates)
    assert (plain["stated, an hour"], plain["promised"]) == ("plain", "n/a")
    assert plain["test: alarms in hours"] == "77 in 1.50"
    assert first["promised"] == "no: too few hours" and default["promised"] == "yes"
    assert default["stated, an hour"] == "10 (default)"
    assert default["validation: alarms, at most"] == "0, 6.7 an hour"
    assert (default["begins at"], default["goes on at"], default["shortest"]) == (
        "0.81",
        "0.35",
        "2 s",
    )
    assert default["seen, an hour"] == "2.0 (0.4 to 5.8)"
    assert (default["called"], default["cries found"]) == ("1.2 %", "0.812")
    assert (default["latency, median"], default["latency, 90 %"]) == ("2.2 s", "n/a")
    # The validation part chose; what is seen of it is no result.
    assert "987" not in str(rates.rows) and "Rules were chosen on the validation" in rates.note
    by_scope = lines(scopes)
    assert [row["measured on"] for row in by_scope] == ["all", "donateacry"]
    assert by_scope[1]["seen, an hour"] == "n/a"
    (agreed,) = lines(calibration)
    assert agreed["method"] == "platt" and agreed["cries"] == "25 %"
    assert calibration.rows[0][5:7] == ["0.321", "0.043"]


def test_the_note_stands_once():
    tables = decision_tables([DECISIONS, DECISIONS | {"model": "paper"}])
    assert [bool(table.note) for table in tables] == [True, False, False, True]
    assert tables[1].title.startswith("Decisions: paper")
    assert decision_tables([]) == []


def test_the_chart_has_a_panel_a_model():
    figure = charts.reliability_figure([DECISIONS, DECISIONS | {"model": "paper"}])
    assert [axes.get_title() for axes in figure.axes] == ["robust", "paper"]
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert [list(y) for y in drawn] == [[0, 1], [0.4], [0.06]]
