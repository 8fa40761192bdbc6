"""The list of commands in the help of the command."""

import typer
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.cli.sections import SECTIONS


def test_help_lists_every_command_once_by_its_whole_first_sentence():
    listed = [name for names in SECTIONS.values() for name in names]
    commands = typer.main.get_command(cli.app).commands
    assert sorted(listed) == sorted(commands)
    said = CliRunner().invoke(cli.app, ["--help"]).stdout
    assert "..." not in said.replace("[ARGS]...", "")
    places = [said.index(f"\n{title}:") for title in SECTIONS]
    assert places == sorted(places)
