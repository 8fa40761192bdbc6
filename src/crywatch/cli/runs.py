"""Commands on the runs of earlier rebuilds: thin, the logic is in the package."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crywatch.core.project import root, say


class Format(StrEnum):
    """Output of `crywatch compare`."""

    table = "table"
    json = "json"
    csv = "csv"


class Unit(StrEnum):
    """What is counted."""

    second = "second"
    clip = "clip"


def mount(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(compare)
    app.command()(deliver)
    app.command()(gc)
    app.command()(runs)


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="A run id, a `dvc exp`, a git revision, workspace, champion, challenger or a "
            "version's number.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Repeatable; by default the main ones.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="Another model of the same run, to compare with --model.")
    ] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="Repeatable, e.g. pooled or a corpus; default: all.")
    ] = None,
    unit: Annotated[list[Unit] | None, typer.Option(help="Repeatable; default: both.")] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,
    html: Annotated[Path | None, typer.Option(help="Also write a page with curves.")] = None,
    all_lines: Annotated[
        bool, typer.Option("--all", help="Print also what has too few groups, or the same scores.")
    ] = False,
    log: Annotated[bool, typer.Option(help="Record the comparison in MLflow.")] = True,
) -> None:
    """Do two runs differ on the same clips? Metrics with intervals, differences, paired tests.

    Without RUN the latest rebuild is compared with the one before, one RUN with the working tree,
    each of several with the first.
    """
    from crywatch.core import params
    from crywatch.operations.compare_runs import UNITS, Options
    from crywatch.operations.compare_runs.command import run
    from crywatch.operations.compare_runs.tables import FORMATS, telling

    options = Options(
        models=tuple(model or ()),
        against=against,
        scopes=tuple(scope or ()),
        units=tuple(each.value for each in unit or ()) or UNITS,
    )
    page = None if html is None else html.absolute()
    with contextlib.chdir(root()):
        registered = params.plain("register.name")
        result = run(runs or [], options, registered, page, log)
    if result.run_id:
        say(f"recorded as run {result.run_id} in {result.store}")
    comparison, is_selected = result.comparison, bool(model or scope or unit)
    if format is Format.table and not (all_lines or is_selected):
        comparison = telling(comparison)
    typer.echo(FORMATS[format.value](comparison).rstrip("\n"))


def deliver(
    here: Annotated[
        bool,
        typer.Option("--here", help="Also what was meant for another store, to the present one."),
    ] = False,
) -> None:
    """Send what stages recorded while the tracking store was gone; exit code 1 if some is left.

    The next stage begins a process that does the same.
    """
    from crywatch.tracking import sender

    rest = deliveries = 0
    with contextlib.chdir(root()):
        for delivery in sender.deliver(here):
            deliveries += 1
            rest += delivery.left
            typer.echo(delivery.line())
    if not deliveries:
        typer.echo("nothing to deliver")
    if rest:
        say(f"{rest} records are left: run `crywatch deliver` again when their store answers")
        raise typer.Exit(1)


def gc(
    keep: Annotated[int, typer.Option(min=1, help="The latest rebuilds, which stay.")] = 20,
    days: Annotated[float, typer.Option(min=0.0, help="Nothing younger goes.")] = 30.0,
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of `crywatch listen --keep-clips`; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
) -> None:
    """Print what may go, with sizes: old runs, copies of the project, clips, records never sent.

    Nothing is removed without --yes. Runs that a registered model or a younger rebuild has
    something from stay, and so do clips that were labelled. DVC's cache is `dvc gc`'s.
    """
    from crywatch.operations import gc as tidying
    from crywatch.tracking.store import reached

    folders = [folder.absolute() for folder in clips or ()]
    total = 0
    with contextlib.chdir(root()), reached():
        for litter in tidying.find(Path.cwd(), tidying.Limits(keep, days), folders):
            typer.echo(litter.line)
            total += litter.n_bytes
            if yes:
                litter.remove()
    if not total:
        say("nothing is old enough to go")
    elif yes:
        say(f"{tidying.size(total)} removed")
    else:
        say(f"{tidying.size(total)} may go: `--yes` removes it")


def runs(
    what: Annotated[
        str,
        typer.Argument(help="An experiment of DVC, a git revision, or a run of MLflow."),
    ],
) -> None:
    """Print which runs, experiments and commits belong to WHAT, whichever of them it is."""
    from crywatch.tracking.find import find, render
    from crywatch.tracking.registry import open_registry
    from crywatch.tracking.store import reached

    with contextlib.chdir(root()), reached():
        typer.echo(render(find(open_registry(create=False), Path.cwd(), what)))
