"""The console blocks of README and docs/ that are marked as run, typed on a small rebuild.

In the order of a reader: README, the quickstart, then page by page; what a block leaves behind the
next ones find.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.docs_cases import PAGES, Block, blocks
from tests.helpers.docs_world import rebuilt_project, type_in

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(1800)]

FIRST = ("README.md", "quickstart.md")
ORDER = sorted(PAGES, key=lambda page: page.name not in FIRST)
RUN = [block for page in ORDER for block in blocks(page) if block.is_run]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return rebuilt_project(tmp_path_factory.mktemp("docs") / "crywatch")


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.where)
def test_what_a_page_says_to_type_works(project: Path, block: Block):
    done = type_in(project, list(block.commands))
    assert done.returncode == block.exit_code, f"{block.where}:\n{done.stdout[-4000:]}"
    assert "Traceback" not in done.stdout, f"{block.where}:\n{done.stdout[-4000:]}"
