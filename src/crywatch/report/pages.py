"""What all pages of the report share: where their numbers come from, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
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


def render(name: str, report: object) -> str:
    """A page by its template ``name`` (detection.html, sections.md and so on) of its ``report``."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crywatch", "report"),
        autoescape=name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{name}.j2").render(report=report)
