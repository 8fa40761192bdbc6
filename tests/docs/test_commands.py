"""What README and docs/ tell a reader to type is there; whether it works, test_console runs."""

from __future__ import annotations

import re

import pytest
import typer

from crywatch.cli.main import app
from crywatch.cli.reference import commands, markdown
from crywatch.core.errors import ConfigError
from tests.helpers.docs_cases import HOW, PAGES, ROOT, blocks, code_spans, programs

COMMANDS = {command.words: command.flags for command in commands(app)}
GROUPS = {words[:length] for words in COMMANDS for length in range(1, len(words))}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
LINES = 150
WIDTH = 110

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


@each_page
def test_every_block_says_whether_it_is_run(page):
    for block in blocks(page):
        assert block.mark, f"{block.where}: a console block without a mark: {HOW}"
        assert block.commands, f"{block.where}: no line of this console block begins with `$ `"


@each_page
def test_every_command_of_a_block_exists(page):
    problems = [
        f"{block.where}: {problem}"
        for block in blocks(page)
        for command in block.commands
        for problem in wrong(command)
    ]
    assert problems == []


@each_page
def test_every_command_in_the_prose_exists(page):
    spans = [
        span for span in code_spans(page) if re.match(r"(crywatch|make|python -m) [a-z]", span)
    ]
    assert [problem for span in spans for problem in wrong(span)] == []


def wrong(line: str) -> list[str]:
    """What is not there of the programs in a line of shell."""
    return [
        f"`{' '.join(words)}`: {problem}" for words in programs(line) if (problem := _wrong(words))
    ]


def _wrong(words: list[str]) -> str | None:
    if words[0] == "make":
        asked = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
        return f"Makefile has no {missing}" if (missing := asked - TARGETS) else None
    if words[:2] == ["python", "-m"]:
        module = words[2].replace(".", "/")
        if words[2] == "benchmarks.NAME" or not module.startswith("benchmarks"):
            return None
        return None if (ROOT / f"{module}.py").is_file() else f"there is no {words[2]}"
    if words[0] != "crywatch" or words[1:] in (["--help"], ["--version"]):
        return None
    asked = tuple(words[1:])
    if asked in GROUPS or asked[:1] in GROUPS and asked[1:] in {("...",), ("--help",)}:
        return None
    for length in (2, 1):
        if (flags := COMMANDS.get(asked[:length])) is not None:
            given = {word.split("=")[0] for word in asked if re.match(r"--[a-z]", word)}
            return f"no option {sorted(given - flags)}" if given - flags else None
    return "no such command"


def test_what_is_not_there_is_found():
    assert wrong("crywatch detect a.wav --model champion && make docs") == []
    assert wrong("LEVEL=1 crywatch infant list | head") == []
    assert wrong("make nothing") and wrong("crywatch nothing") and wrong("crywatch infant nothing")
    assert wrong("crywatch detect --nothing") and wrong("python -m benchmarks.nothing")


def test_the_reference_names_every_command_and_option():
    page = markdown(app)
    for words, flags in COMMANDS.items():
        assert f"## crywatch {' '.join(words)}\n" in page
        section = page.partition(f"## crywatch {' '.join(words)}\n")[2].partition("\n## ")[0]
        assert [flag for flag in flags - {"--help"} if flag not in section] == []


def test_a_command_without_help_stops_the_build():
    bare = typer.Typer()
    bare.callback()(lambda: None)

    @bare.command()
    def nothing() -> None: ...

    with pytest.raises(ConfigError, match="crywatch nothing: has no help"):
        markdown(bare)

    @bare.command()
    def nothing(level: int = 1) -> None:  # noqa: F811
        """Does nothing."""

    with pytest.raises(ConfigError, match="crywatch nothing: --level has no help"):
        markdown(bare)


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > WIDTH] == []
