"""Console blocks of README and docs/, with the mark that says whether a test runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "README.md"],
    key=lambda path: (path.name != "README.md", path),  # README is first
)
HOW = (
    "write `<!-- run -->` on the line before it, `<!-- run: exit 1 -->`, or "
    "`<!-- not run: REASON -->` (CONTRIBUTING.md, Documentation)"
)
FILE = re.compile(r"<!-- write: (?P<name>[\w./-]+) -->")
MARK = re.compile(r"<!-- (?:run(?:: exit (?P<code>\d+))?|not run: (?P<reason>\S.*)) -->")
FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>\S*)")
BETWEEN = {"&&", "||", "|", ";", "&"}  # one command and the next


@dataclass(frozen=True)
class Block:
    """One console block of a page."""

    page: Path
    line: int  # of its fence, from 1
    mark: re.Match[str] | None
    commands: tuple[str, ...]  # as they would be typed

    @property
    def where(self) -> str:
        """Page and line, as an editor takes them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """A test types these commands."""
        return self.mark is not None and self.mark["reason"] is None

    @property
    def exit_code(self) -> int:
        """Of the last command."""
        return int(self.mark["code"] or 0) if self.mark else 0


def blocks(page: Path) -> Iterator[Block]:
    """The console blocks of ``page``, and those that are a file's text, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.fullmatch(lines[number])
        number += 1
        if fence is None:
            continue
        begin, inside = number, []
        while lines[number].strip() != fence["ticks"]:
            inside.append(lines[number].removeprefix(fence["indent"]))
            number += 1
        number += 1
        before = lines[begin - 2].strip() if begin > 1 else ""
        if file := FILE.fullmatch(before):
            typed = "\n".join((f"cat > {file['name']} << 'END'", *inside, "END"))
            yield Block(page, begin, MARK.fullmatch("<!-- run -->"), (typed,))
        elif fence["language"] == "console":
            yield Block(page, begin, MARK.fullmatch(before), tuple(_commands(inside)))


def code_spans(page: Path) -> Iterator[str]:
    """Code in the prose of ``page``: what stands between backticks, over line ends too."""
    text = re.sub(r"^ *(`{3,}).*?^ *\1$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
        yield " ".join(span.split())


def programs(line: str) -> Iterator[list[str]]:
    """The words of each program that a shell would start for ``line``."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in BETWEEN:
            if words:
                yield words
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)


def _commands(lines: list[str]) -> Iterator[str]:
    waiting = ""
    for line in lines:
        if waiting:
            waiting += "\n" + line
        elif line.startswith("$ "):
            waiting = line.removeprefix("$ ")
        if waiting and not waiting.endswith("\\"):
            yield waiting
            waiting = ""
