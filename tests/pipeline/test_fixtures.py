"""The modules of shared fixtures."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def fixtures(path: Path) -> list[str]:
    """Names of the functions of a module that pytest.fixture decorates."""
    found = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return [
        one.name for one in found if "fixture" in " ".join(map(ast.unparse, one.decorator_list))
    ]


def test_no_two_modules_share_a_name():
    """`pytest_plugins` makes fixtures global: of two with one name a whole run sees one only."""
    modules = [TESTS / "conftest.py", *TESTS.glob("helpers/*_fixtures.py")]
    names = Counter(name for path in modules for name in fixtures(path))
    assert {"project", "retrained", "one_thread"} <= set(names)
    assert [name for name, count in names.items() if count > 1] == []
