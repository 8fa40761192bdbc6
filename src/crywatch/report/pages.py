"""What all pages of the report share: their origin, their sections, and how they are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from crywatch.core.atomic import write_text
from crywatch.core.errors import TableError
from crywatch.report.tables import Table


@dataclass(frozen=True)
class ReportOrigin:
    """What the numbers come from."""

    profile: str
    source: str  # of the sounds, data.source: generated, mirror, publishers
    commit: str  # empty outside git
    dirty: bool = False  # files differ from the commit

    @property
    def generated(self) -> bool:
        """Whether the sounds are generated, whatever the profile is called."""
        return self.source == "generated"

    @property
    def name(self) -> str:
        """The commit as text."""
        text = self.commit or "n/a"
        return f"{text} with uncommitted changes" if self.dirty else text


@dataclass(frozen=True)
class Link:
    """To another page, relative to this one."""

    href: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    name: str
    title: str
    lead: str
    tables: list[Table]
    figures: dict[str, str]  # caption to data URI
    links: tuple[Link, ...]


@dataclass(frozen=True)
class SectionsPage:
    """A page of sections, each with a lead, figures, links and tables (template sections)."""

    title: str
    origin: ReportOrigin
    facts: str
    caution: str
    sections: list[Section]


@cache
def _texts() -> dict[str, Any]:
    return yaml.safe_load(resources.files(__package__).joinpath("texts.yaml").read_text("utf-8"))


def note(name: str) -> str:
    """A table's note of texts.yaml."""
    return _texts()["notes"][name]


def columns(name: str) -> dict[str, str]:
    """A table's columns of texts.yaml: titles by the key of a measure."""
    return _texts()["columns"][name]


def sections_page(
    name: str,
    title: str,
    origin: ReportOrigin,
    facts: str,
    tables: Mapping[str, list[Table]],
    folders: Mapping[str, Path] | None = None,
    links: Mapping[str, Link] | None = None,
    **words: str,
) -> SectionsPage:
    """The page ``name`` of texts.yaml, with ``tables`` and ``links`` by section.

    ``folders`` have the figures that the texts name, by section; ``words`` stand for the names in
    braces. TableError where a figure is missing.
    """
    page = _texts()["pages"][name]
    words |= {key: _texts()[key] for key in ("prepared", "readings")}
    sections = []
    for key, text in page["sections"].items():
        figures = {
            caption: _data_uri((folders or {})[key] / file)
            for file, caption in text.get("figures", {}).items()
        }
        lead = text["lead"].format(**words)
        section_links = (links[key],) if links and key in links else ()
        sections.append(Section(key, text["title"], lead, tables[key], figures, section_links))
    return SectionsPage(title, origin, facts, page["caution"].format(**words), sections)


def _data_uri(svg: Path) -> str:
    if not svg.is_file():
        raise TableError(f"{svg} is missing: run its stage again (dvc repro)")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"


def write_page(folder: Path, name: str, template: str, page: object) -> None:
    """``name``.html and ``name``.md in ``folder``, of the templates of that name."""
    for suffix in ("html", "md"):
        write_text(folder / f"{name}.{suffix}", render(f"{template}.{suffix}", page))


def render(name: str, page: object) -> str:
    """A page by its template ``name``: detection.html, sections.md and so on."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "report"),
        autoescape=name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{name}.j2").render(report=page)
