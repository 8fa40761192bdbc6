"""The reference of the command, as Markdown, from what `--help` says: no page of it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from crywatch.core.errors import ConfigError

PROGRAM = "crywatch"


@dataclass(frozen=True)
class Documented:
    """A command that does something, not a group of them."""

    words: tuple[str, ...]  # ("infant", "enroll")
    usage: str
    help: str  # paragraphs
    arguments: Mapping[str, str]  # by what `--help` lists them with
    options: Mapping[str, str]
    flags: frozenset[str]  # every spelling of every option: "--model"


def commands(app: typer.Typer) -> Iterator[Documented]:
    """All commands of ``app``, groups one after the other; ConfigError if one lacks its help."""
    yield from _commands(typer.main.get_command(app), ())


def markdown(app: typer.Typer) -> str:
    """One page: what each command does, its usage, arguments and options; in order of names."""
    parts = [f"# The command `{PROGRAM}`\n\n{typer.main.get_command(app).help}\n"]
    for command in sorted(commands(app), key=lambda command: command.words):
        parts.append(f"## {' '.join((PROGRAM, *command.words))}\n\n{command.help}\n")
        parts.append(f"```text\n{command.usage}\n```\n")
        for title, rows in (("argument", command.arguments), ("option", command.options)):
            if rows:
                lines = [f"| {title} | |", "|---|---|"]
                lines += [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in rows.items()]
                parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[Documented]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from _commands(child, (*words, name))
        return
    name = " ".join((PROGRAM, *words))
    context = command.make_context(name, [], resilient_parsing=True)
    listed: dict[str, dict[str, str]] = {"argument": {}, "option": {}}
    flags = {"--help"}
    for parameter in command.params:
        if parameter.hidden:
            continue
        if not parameter.help:
            raise ConfigError(f"{name}: {parameter.opts[0]} has no help: give it one")
        spelling, text = parameter.get_help_record(context)
        listed[parameter.param_type_name][spelling] = text
        if parameter.param_type_name == "option":
            flags.update(parameter.opts, parameter.secondary_opts)
    if not command.help:
        raise ConfigError(f"{name}: has no help: give its function a docstring")
    yield Documented(
        words,
        command.get_usage(context).removeprefix("Usage: "),
        command.help,
        listed["argument"],
        listed["option"],
        frozenset(flags),
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
