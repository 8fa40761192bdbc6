"""`crywatch trace` and `crywatch reproduce`: thin, the logic is in modules of those names."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crywatch.core.project import root

Version = Annotated[
    str,
    typer.Argument(
        help="champion, challenger, 3, cry-detector/3 or models:/cry-detector/3.",
        metavar="MODEL_VERSION",
    ),
]
Traced = Annotated[
    str,
    typer.Argument(
        help="champion, challenger, 3, cry-detector/3 or models:/cry-detector/3; or released, the "
        "model that the package brings; or a folder that `crywatch export` wrote.",
        metavar="MODEL_VERSION",
    ),
]


class Format(StrEnum):
    """Output of `crywatch trace`."""

    text = "text"
    json = "json"


def trace(
    version: Traced, format: Annotated[Format, typer.Option(help="How to print.")] = Format.text
) -> None:
    """Print the lineage of a registered model or exported folder, checked as far as it can be.

    Commit, dvc.lock, parameters, corpora with digests and licences, runs, metrics, and who promoted
    it and why. What is missing is said. Exit code 1 if something is not as it was recorded.
    """
    from crywatch.detection import released

    if version == released.NAME:
        _trace_released(format)
        return
    if Path(version).is_dir():
        _trace_export(Path(version), format)
        return
    from crywatch.operations.trace import text
    from crywatch.operations.trace import trace as trace_version

    with contextlib.chdir(root()):
        version_trace = trace_version(Path.cwd(), version)
    show = text.as_json if format is Format.json else text.as_text
    typer.echo(show(version_trace))
    if not version_trace.sound:
        raise typer.Exit(1)


def _trace_export(folder: Path, format: Format) -> None:
    import json
    from dataclasses import asdict

    from crywatch.operations import exported

    traced = exported.trace(folder)
    record = asdict(traced) | {"sound": traced.sound}
    as_json = format is Format.json
    typer.echo(json.dumps(record, indent=2) if as_json else exported.as_text(traced))
    if not traced.sound:
        raise typer.Exit(1)


def _trace_released(format: Format) -> None:
    import json

    from crywatch.operations import release

    record = release.trace()
    as_json = format is Format.json
    typer.echo(json.dumps(record, indent=2) if as_json else release.as_text(record))
    if not record["sound"]:
        raise typer.Exit(1)


def reproduce(
    version: Version,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Make it again from the raw data, with nothing cached."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model, if its digest is the recorded one.")
    ] = None,
) -> None:
    """Check out the commit, lock and model of a registered version, and compare its digest.

    All is in a copy of the project below .dvc/tmp/worktrees; the working tree stays as it is. Exit
    code 1 if the digests differ, with the first stage whose outputs differ.
    """
    from crywatch.operations import reproduce as module

    target = None if out is None else out.absolute()
    with contextlib.chdir(root()):
        result = module.reproduce(Path.cwd(), version, rebuild, target)
    typer.echo(module.render(result))
    if not result.same:
        raise typer.Exit(1)


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(trace)
    app.command()(reproduce)
