"""The list of commands that `crywatch --help` prints: by what they are for, first use first."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

SECTIONS = {
    "Detect": ("demo", "detect", "listen", "review", "export", "evaluate"),
    "Know an infant": ("infant", "embed"),
    "Rebuild": ("params", "repro", "data", "check", "dag", "mine-published"),
    "Look at runs and compare": ("ui", "runs", "compare", "deliver", "gc"),
    "Register and retrain": (
        *("register", "rollback", "trace", "reproduce"),
        *("retrain", "schedule"),
    ),
}
SENTENCE = 200  # characters of a command's first sentence at most; it is wrapped, not cut


class Sections(TyperGroup):
    """A group whose help lists its commands under the headings of `SECTIONS`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section; a command of none would be missing, which a test looks for."""
        for title, names in SECTIONS.items():
            rows = [(name, self.commands[name].get_short_help_str(SENTENCE)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)
