"""The documentation as a site, and what a release and the hooks take from the project's files."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from crywatch import __version__
from crywatch.cli.main import app
from tests.helpers.docs_cases import ROOT

BUILD = ROOT / "docs" / "build.py"
NOTES = ROOT / ".ci" / "release_notes"


def build(script: str) -> subprocess.CompletedProcess[str]:
    """docs/build.py as a module, then ``script``."""
    begin = f"import runpy; globals().update(runpy.run_path({str(BUILD)!r})); "
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", begin + script]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_every_page_is_in_the_navigation_and_every_picture_is_there(tmp_path):
    pages = tmp_path / "docs"
    script = (
        f"pages = Path({str(pages)!r}); gather(ROOT, pages); config = ROOT / 'zensical.toml'; "
        "print(*problems(pages, config), sep='\\n'); print('---'); "
        "(pages / 'stray.md').write_text('![a](gone.png)'); (pages / 'detect.md').unlink(); "
        "print(*problems(pages, config), sep='\\n')"
    )
    done = build(script)
    assert done.returncode == 0, done.stderr
    now, _, broken = done.stdout.partition("---\n")
    assert now.strip() == ""
    assert broken.splitlines() == [
        "zensical.toml: nav lists no stray.md",
        "zensical.toml: there is no detect.md",
        "stray.md: there is no picture gone.png",
    ]


def test_the_site_is_built_without_a_warning():
    pytest.importorskip("zensical", reason="pip install 'crywatch[docs]'")
    pytest.importorskip("mkdocstrings_handlers.python", reason="pip install 'crywatch[docs]'")
    done = build("raise SystemExit(main())")
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build" / "site"
    assert "crywatch infant enroll" in (site / "commands.html").read_text()
    assert "load_detector" in (site / "python.html").read_text()
    assert (site / "index.html").is_file() and (site / "night.png").is_file()


def test_the_version_is_one():
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"crywatch {__version__}\n")
    done = subprocess.run([NOTES, f"v{__version__}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    other = subprocess.run([NOTES, "v99.0.0"], capture_output=True, text=True, check=False)
    assert other.returncode == 1 and "is not 99.0.0" in other.stderr


def test_the_hooks_run_what_make_lint_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = {hook["entry"] for repo in config["repos"] for hook in repo["hooks"]}
    makefile = (ROOT / "Makefile").read_text()
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, flags=re.M)[1]
    for line in lint.splitlines():
        program = " ".join(word for word in line.split()[:2] if "/" not in word)
        assert any(entry.startswith(program) for entry in entries), program


def test_issue_templates_are_forms():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.name == "config.yml":
            continue
        assert {"name", "description", "body"} <= set(form), path.name
        fields = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(fields) == len(set(fields)) > 0
        assert all(field["attributes"]["label"] for field in form["body"])
