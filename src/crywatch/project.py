"""The project that a command is run in, and how a command speaks."""

from __future__ import annotations

from pathlib import Path

from crywatch.errors import CrywatchError


def root(mark: Path | None = None) -> Path:
    """The repository root: the nearest folder at or above here that holds params.yaml.

    ``mark`` is another file to know it by.
    """
    from crywatch import params

    mark = mark or params.PARAMS_FILE
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / mark).is_file():
            return folder.relative_to(here) if folder == here else folder
    raise CrywatchError(f"no {mark} in {here} or above: run crywatch inside the project")


def say(message: str) -> None:
    """One line on standard error."""
    import typer

    typer.echo(f"crywatch: {message}", err=True)
