"""Build the documentation as a site in build/site: ``make docs``.

The pages are those of this folder, README as the first one, the files for contributors, and a
reference of the command, which is generated. They are put together in build/docs, because the
generator runs no hooks. It is strict: a link to a page, heading or picture that is not there fails,
and so does a page that the navigation of zensical.toml does not list.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crywatch.cli.main import app
from crywatch.cli.reference import markdown

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "docs"
OUTSIDE = {  # pages of the site that lie beside this folder
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "tests/README.md": "tests.md",
}


def gather(root: Path, pages: Path) -> None:
    """All pages and pictures of the site into the new folder ``pages``."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(root / "docs", pages, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, page in OUTSIDE.items():
        text = (root / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in OUTSIDE.items():
            text = text.replace(f"]({other}", f"]({target}")
        (pages / page).write_text(text, encoding="utf-8")
    for path in pages.glob("*.md"):  # a page of docs/ links to ../CHANGELOG.md
        text = path.read_text(encoding="utf-8")
        for other, target in OUTSIDE.items():
            text = text.replace(f"](../{other}", f"]({target}")
        path.write_text(text, encoding="utf-8")
    (pages / "commands.md").write_text(markdown(app), encoding="utf-8")


def problems(pages: Path, config: Path) -> Iterator[str]:
    """What the generator does not look at: the navigation, and whether pictures are there."""
    listed = set(_pages(tomllib.loads(config.read_text(encoding="utf-8"))["project"]["nav"]))
    there = {path.name for path in pages.glob("*.md")}
    yield from (f"{config.name}: nav lists no {name}" for name in sorted(there - listed))
    yield from (f"{config.name}: there is no {name}" for name in sorted(listed - there))
    for page in sorted(pages.glob("*.md")):
        for picture in re.findall(r"!\[[^]]*\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            if not (pages / picture).is_file():
                yield f"{page.name}: there is no picture {picture}"


def _pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages(part)


def main() -> int:
    """Gather, check and build; 1 where something is wrong."""
    gather(ROOT, PAGES)
    if found := list(problems(PAGES, ROOT / "zensical.toml")):
        print(*found, sep="\n", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        return code
    print(f"open {ROOT / 'build' / 'site' / 'index.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
