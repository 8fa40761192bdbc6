"""The page on infants: every part is on it, it stands alone, it says what is not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crywatch.core.errors import TableError
from crywatch.report.infants import infants_page
from crywatch.report.pages import ReportOrigin, render
from tests.helpers.report_cases import TABLES, infants_inputs

ORIGIN = ReportOrigin(profile="demo", source="generated", commit="0123456789ab")
NAMES = ["sections.html", "sections.md"]


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    return infants_inputs(tmp_path / "stages", monkeypatch)


@pytest.fixture
def report(inputs, tmp_path):
    return infants_page(inputs, "Infants & <others>", ORIGIN, tmp_path / "reports")


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_there_with_its_notes(report, name):
    text = render(name, report)
    for table in TABLES:
        assert f"of {table}" in text and f"Note on {table}." in text
    assert "1 recordings of 1 infants, 2 cries, 2 s." in text
    assert "| toy | test | 1 | 1 | 1 | 2 | 2 | 0 |" in text or name == "sections.html"
    assert "not health" in text and "commit 0123456789ab." in text
    assert "vectors, here and below, are of ECAPA-TDNN, GE2E and AAM-softmax." in text


def test_the_page_stands_alone_and_links_to_the_timelines(report):
    html = render("sections.html", report)
    assert 'href="../stages/timeline/timelines.html"' in html
    assert html.count("data:image/svg+xml;base64,") == 4
    assert "http" not in html and "<script" not in html
    assert "&lt;ge2e&gt;" in html and "<ge2e>" not in html
    assert "Infants &amp; &lt;others&gt;" in html
    for section in report.sections:
        assert f'id="{section.name}"' in html and f'href="#{section.name}"' in html


def test_markdown_tables_are_tables(report):
    text = render("sections.md", report)
    assert text.startswith("# Infants & <others>\n")
    for section in report.sections:
        for table in section.tables:
            block = text.split(f"### {table.title}\n")[1].split("\n#")[0]
            lines = [line for line in block.splitlines() if line.startswith("|")]
            assert len(lines) == 2 + len(table.rows)
            assert "\n".join(lines) in block


@pytest.mark.parametrize("name", NAMES)
def test_generated_sounds_are_called_generated(report, name):
    assert "Generated sounds." in render(name, report)
    real = replace(report, origin=replace(ORIGIN, source="mirror"))
    assert "Generated sounds." not in render(name, real)


def test_a_missing_figure_is_named(inputs, tmp_path):
    (inputs.verification / "det.svg").unlink()
    with pytest.raises(TableError, match="det.svg is missing"):
        infants_page(inputs, "Infants", ORIGIN, tmp_path / "reports")
