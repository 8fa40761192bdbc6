"""Figures of results: what README and the page of results state stands in the report's own page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "docs" / "results-local.md"
FIGURE = re.compile(r"(?<![\w.])-?\d+\.\d{3}(?!\d)")  # as the report prints one


def figures(text: str) -> list[str]:
    """Numbers with three decimals, in their order."""
    return FIGURE.findall(text)


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_figure_is_one_of_the_report(page):
    reported = set(figures(REPORTED.read_text("utf-8")))
    stated = figures((ROOT / page).read_text("utf-8"))
    assert stated, f"{page} states no result"
    unknown = [figure for figure in stated if figure not in reported]
    assert not unknown, f"{page}: not in {REPORTED.name}: {', '.join(unknown)}"
