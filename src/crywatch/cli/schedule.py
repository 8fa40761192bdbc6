"""The `crywatch schedule` commands: thin, the logic is in `crywatch.operations.schedule`."""

from __future__ import annotations

from typing import Annotated

import typer

from crywatch.core.errors import CrywatchError
from crywatch.core.project import root, say

app = typer.Typer(help="Run `crywatch retrain` unattended, at set times.", no_args_is_help=True)


@app.command()
def install(
    systemd: Annotated[
        bool, typer.Option("--systemd", help="A timer of the user's own systemd.")
    ] = False,
    cron: Annotated[bool, typer.Option("--cron", help="A line in the user's crontab.")] = False,
    at: Annotated[
        str | None,
        typer.Option(
            help="When, by default Sundays at 3:00: a calendar event of systemd ('Sun 03:00'), or "
            "cron's five fields ('0 3 * * 0')."
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--print", help="Show it and change nothing.")] = False,
) -> None:
    """Run `crywatch retrain` of this project by systemd or cron; again with another time moves it.

    Secrets are read from a file that it names, and are never written into a unit or a table.
    """
    from crywatch.operations.schedule import BACK_ENDS, of_project

    if systemd == cron:
        raise CrywatchError("name one of --systemd and --cron")
    back_end = BACK_ENDS["systemd" if systemd else "cron"]
    job = of_project(root())
    at = back_end.AT if at is None else at
    if dry:
        typer.echo(back_end.preview(job, at), nl=False)
        return
    typer.echo("\n".join(back_end.install(job, at)))
    for warning in job.warnings():
        say(warning)


@app.command()
def show() -> None:
    """Show what is scheduled for this project."""
    _of_each("show", "nothing is scheduled")


@app.command()
def remove() -> None:
    """Take this project's timer and cron line away."""
    _of_each("remove", "nothing was scheduled")


def _of_each(action: str, otherwise: str) -> None:
    from crywatch.operations.schedule import BACK_ENDS, of_project

    job = of_project(root())
    lines = [line for back_end in BACK_ENDS.values() for line in getattr(back_end, action)(job)]
    typer.echo("\n".join(lines or [f"{job.project}: {otherwise}"]))


@app.command()
def serve(
    at: Annotated[str, typer.Option(help="Cron's five fields, in UTC.")] = "0 3 * * 0",
) -> None:
    """Run `crywatch retrain` of this project as a Prefect flow, at its times, until stopped.

    The server is the one that PREFECT_API_URL names; needs the extra prefect.
    """
    from crywatch.operations.schedule import cron, flow

    flow.serve(root().resolve(), cron.check_expression(at))
