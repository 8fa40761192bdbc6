"""A page of sections: each with a lead, figures, links and tables (template sections)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crywatch.core.errors import TableError
from crywatch.report.pages import Origin
from crywatch.report.tables import Table

# Of channels that everything goes through.
PREPARED = (
    "The robust networks were trained with drawn rooms, bands, levels and codecs of the same "
    "kinds, though in no fixed channel, and their recipe was chosen through the telephone too, "
    "without the test part; systems not trained on channels meet all of it unprepared."
)


@dataclass(frozen=True)
class Link:
    """To another page, relative to this one."""

    href: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    lead: str
    tables: list[Table]
    figures: dict[str, str] = field(default_factory=dict)  # caption to data URI
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class SectionsReport:
    """Everything the template needs."""

    title: str
    origin: Origin
    facts: str
    caution: str
    sections: list[Section]


def svg_figures(folder: Path, captions: Mapping[str, str]) -> dict[str, str]:
    """Data URIs of the SVG files ``captions`` in ``folder``, by caption."""
    out = {}
    for name, caption in captions.items():
        if not (folder / name).is_file():
            raise TableError(f"{folder / name} is missing: run its stage again (dvc repro)")
        data = base64.b64encode((folder / name).read_bytes()).decode()
        out[caption] = f"data:image/svg+xml;base64,{data}"
    return out
