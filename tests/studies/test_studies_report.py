"""Stage ``studies_report``: both pages, as HTML and as Markdown, that stand alone."""

from __future__ import annotations

import pytest

from crywatch.core.atomic import write_json
from crywatch.core.errors import TableError
from crywatch.report.pages import ReportOrigin
from crywatch.studies.studies_report import StudiesReportConfig, run
from tests.helpers.report_cases import SVG, ablations_folder

CONFIG = StudiesReportConfig(recipes_title="Recipes & <parts>", year_title="A year")
ORIGIN = ReportOrigin(profile="demo", source="mirror", commit="0123456789ab")
ESTIMATE = {"mean": 1.25, "low": 0.5, "high": 2.0, "infants": 2}
YEAR = {
    "infants": 2,
    "recordings": 30,
    "rate": 0.1,
    "trimming_p": 0.05,
    "slow": {"": {"gated": {"false_alarms_a_month": ESTIMATE}}},
    "change": {"breath": {"gated": {"noticed_days": ESTIMATE}}},
    "attack": {"drip": {"frozen": {"drift": ESTIMATE}}},
}


@pytest.fixture
def folder(tmp_path):
    ablations_folder(tmp_path / "ablations")
    write_json(tmp_path / "year" / "metrics.json", YEAR)
    (tmp_path / "year" / "year.svg").write_text(SVG)
    return tmp_path


def report(folder):
    inputs = folder / "ablations", ["base", "no_room"], folder / "year"
    run(*inputs, CONFIG, ORIGIN, folder / "out")
    return {path.name: path.read_text() for path in (folder / "out").iterdir()}


def test_both_pages_stand_alone(folder):
    pages = report(folder)
    assert sorted(pages) == ["recipes.html", "recipes.md", "year.html", "year.md"]
    assert "Recipes &amp; &lt;parts&gt;" in pages["recipes.html"]
    assert "| no_room | 0.400 (-0.100) |" in pages["recipes.md"]
    assert "1.25 (0.50 to 2.00)" in pages["year.md"] and "one other infant" in pages["year.md"]
    assert "data:image/svg+xml;base64," in pages["year.html"]
    assert not any("http" in page or "<script" in page for page in pages.values())
    assert all("commit 0123456789ab." in page for page in pages.values())


@pytest.mark.parametrize("missing", ["year.svg", "metrics.json"])
def test_what_is_missing_is_named_and_nothing_is_written(folder, missing):
    (folder / "year" / missing).unlink()
    with pytest.raises(TableError, match=missing):
        report(folder)
    assert not (folder / "out").exists()
